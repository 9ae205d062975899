import type { InvokeCommandOutput } from '@aws-sdk/client-lambda'
import { batchFailures } from '../core/batch-answer.ts'
import { BatchAnswerInvalidError, FunctionFailedError, quotedValue } from '../errors.ts'

/** What a function says of its own failure is kept up to that many characters. */
const MAX_TEXT = 1_000

/**
 * The entries that a function says it failed.
 *
 * @throws {FunctionFailedError} The function itself failed.
 * @throws {BatchAnswerInvalidError} What it answered is not an answer to a batch.
 */
export function failedEntries(
  functionName: string,
  { StatusCode, FunctionError, Payload }: InvokeCommandOutput,
  entryIds: readonly string[],
): readonly string[] {
  const text = Payload === undefined ? '' : Buffer.from(Payload).toString()
  if (FunctionError) throw functionFailed(functionName, text)
  if (StatusCode !== 200)
    throw new BatchAnswerInvalidError(
      `Function ${quotedValue(functionName)} must answer with status 200, got ${StatusCode}`,
    )
  if (text === '') return []
  const answer = parsed(text)
  if (!answer)
    throw new BatchAnswerInvalidError(`Function ${quotedValue(functionName)} must answer JSON, got something else`)
  return [...batchFailures(answer.value, entryIds).keys()]
}

function functionFailed(functionName: string, text: string): FunctionFailedError {
  const { errorType, errorMessage } = (parsed(text)?.value ?? {}) as { errorType?: unknown; errorMessage?: unknown }
  return new FunctionFailedError(
    functionName,
    typeof errorType === 'string' ? errorType.slice(0, MAX_TEXT) : undefined,
    typeof errorMessage === 'string' ? errorMessage.slice(0, MAX_TEXT) : 'it did not say with what',
  )
}

function parsed(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) }
  } catch {
    return undefined
  }
}
