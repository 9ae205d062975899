import { BatchAnswerInvalidError, BatchItemFailedError, quotedValue } from '../errors.ts'
import { ignoreRejectionsWithin } from './thenable.ts'

/**
 * Which entries of a batch failed, and with what. AWS's rules: nothing, `null`, and an empty or missing list are a success of all;
 * anything else than a list of ids of the batch is a failure of all.
 *
 * @throws {BatchAnswerInvalidError} All failed.
 * @see https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
 */
export function batchFailures(answer: unknown, entryIds: readonly string[]): ReadonlyMap<string, unknown> {
  try {
    return checked(answer, entryIds)
  } catch (error) {
    ignoreRejectionsWithin(answer)
    throw error
  }
}

function checked(answer: unknown, entryIds: readonly string[]): ReadonlyMap<string, unknown> {
  const failures = new Map<string, unknown>()
  if (answer === undefined || answer === null) return failures
  // an Error, a Map or a Response has no keys either, and says no success
  if (Object.prototype.toString.call(answer) !== '[object Object]') throw invalid(`got ${kind(answer)}`)
  const { batchItemFailures, ...others } = answer as Record<string, unknown>
  const [other] = Object.keys(others)
  if (batchItemFailures === undefined && other !== undefined) throw invalid(`got the key ${quotedValue(other)}`)
  if (batchItemFailures === undefined || batchItemFailures === null) return failures
  if (!Array.isArray(batchItemFailures)) throw invalid(`got ${kind(batchItemFailures)} for batchItemFailures`)
  const known = new Set(entryIds)
  for (const failure of batchItemFailures as unknown[]) {
    const { itemIdentifier: id, error } = (failure ?? {}) as { itemIdentifier?: unknown; error?: unknown }
    if (typeof id !== 'string' || id === '') throw invalid('got an itemIdentifier that is missing, empty or no string')
    if (!known.has(id))
      throw invalid(`got the itemIdentifier ${quotedValue(id.slice(0, 100))}, which is not in the batch`)
    failures.set(id, error ?? new BatchItemFailedError('The handler named it in batchItemFailures'))
  }
  return failures
}

function invalid(got: string): BatchAnswerInvalidError {
  return new BatchAnswerInvalidError(
    `A batch handler must answer nothing or { batchItemFailures: [{ itemIdentifier: entryId }, …] }, ${got}`,
  )
}

function kind(value: unknown): string {
  return Array.isArray(value) ? 'an array' : value instanceof Error ? 'an Error' : typeof value
}
