import { MalformedEntryError, MillraceError } from '../errors.ts'
import type { Field } from './entry.ts'
import { quoting } from './quotes.ts'

/** What a codec threw, for letters, logs and notices: as it is, unless it is another's and quotes the entry, as JSON.parse does. */
export function codecError(error: unknown, fields: readonly Field[]): unknown {
  if (error instanceof MillraceError) return error
  const { name, message } = (error ?? {}) as { readonly name?: unknown; readonly message?: unknown }
  const [isQuoting] = quoting([`${String(name)} ${String(message ?? error)}`], fields)
  if (!isQuoting) return error
  return new MalformedEntryError('The codec cannot read it; what it threw may quote the entry and is not shown')
}
