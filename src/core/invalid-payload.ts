import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { ShownIssue } from '../errors.ts'
import { InvalidPayloadError } from '../errors.ts'
import type { SchemaIssue } from './issues.ts'
import { findQuotingSentences } from './quotes.ts'
import { schemaMemberNames } from './schema-member-names.ts'

/** What stands for a name that is not the schema's own. */
const HIDDEN = '*'
/** A number from there on has four digits, which may be a key's. */
const MOST_INDEX = 1_000
/** Issues that an error's texts name. */
const MOST_SHOWN = 10

/**
 * The error of a payload that its schema refuses. What it says is made of the schema's own names, and of the library's sentences that quote
 * nothing of the input; its `issues` have all of it.
 *
 * @param input All that was given to the schema.
 * @param advice What the message ends with.
 */
export function invalidPayloadError(
  { type, payload: schema }: { readonly type: string; readonly payload: StandardSchemaV1 },
  issues: readonly SchemaIssue[],
  input: unknown,
  advice = '',
): InvalidPayloadError {
  const first = issues.slice(0, MOST_SHOWN)
  const quoted = findQuotingSentences(
    first.map(({ message }) => message),
    input,
  )
  const names = schemaMemberNames(schema)
  const shown = first.map((issue, n) => shownOf(issue, names, quoted[n] === true))
  const all = issues.map(({ path, message }) => ({ path: path.join('.'), message }))
  return new InvalidPayloadError(type, all, shown, advice)
}

function shownOf({ path, message }: SchemaIssue, names: ReadonlySet<string>, isQuoting: boolean): ShownIssue {
  return { path: shownPath(path, names), message: isQuoting ? undefined : message }
}

/** A path by the schema's own names, and `*` for any other: that may be the payload's. */
export function shownPath(path: readonly (string | number)[], names: ReadonlySet<string>): string {
  return path.map((key) => (isIndex(key) || names.has(String(key)) ? String(key) : HIDDEN)).join('.')
}

function isIndex(key: string | number): boolean {
  return typeof key === 'number' && Number.isInteger(key) && key >= 0 && key < MOST_INDEX
}
