import { MalformedEntryError, MillraceError } from '../errors.ts'
import type { Field } from './entry.ts'
import { findQuotingSentences } from './quotes.ts'

/** Causes of causes that are inspected. */
const MOST_CAUSES = 10

/** What a codec threw, for letters, logs and notices: as it is, unless it is another's and quotes the entry, as JSON.parse does. */
export function codecError(error: unknown, fields: readonly Field[]): unknown {
  if (error instanceof MillraceError) return error
  try {
    if (!findQuotingSentences(textsOf(error), fields).includes(true)) return error
  } catch {
    return error // what cannot be read quotes nothing
  }
  return new MalformedEntryError('The codec cannot read it; what it threw may quote the entry and is not shown')
}

/** What an error says, and what caused it; of a stack only what is no frame. */
function textsOf(error: unknown, depth = 0): string[] {
  if (typeof error !== 'object' || error === null) return [String(error)]
  const { name, message, stack, cause } = error as Record<string, unknown>
  const head = String(stack ?? '').replace(/^ +at .*$/gm, '')
  return [
    `${String(name)} ${String(message)} ${head}`,
    ...(cause === undefined || depth === MOST_CAUSES ? [] : textsOf(cause, depth + 1)),
  ]
}
