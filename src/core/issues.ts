import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { PayloadIssue, ShownIssue } from '../errors.ts'
import { InvalidPayloadError } from '../errors.ts'
import { ownNames } from './own-names.ts'
import { quoting } from './quotes.ts'

/** What stands for a name that is not the schema's own. */
const HIDDEN = '*'
/** Array indexes beyond that may be something else. */
const MOST_INDEX = 1_000_000
/** Issues that an error's texts tell of. */
const MOST_SHOWN = 10

/**
 * The error of a payload that its schema refuses. What it says is made of the schema's own names, and of the library's sentences that quote
 * nothing of the input; its `issues` have all of it.
 *
 * @param input All that was given to the schema.
 */
export function invalidPayload(
  { type, payload: schema }: { readonly type: string; readonly payload: StandardSchemaV1 },
  issues: readonly StandardSchemaV1.Issue[],
  input: unknown,
): InvalidPayloadError {
  const first = issues.slice(0, MOST_SHOWN)
  const quoted = quoting(
    first.map(({ message }) => String(message)),
    input,
  )
  const shown = first.map((issue, n) => shownOf(issue, ownNames(schema), quoted[n] === true))
  return new InvalidPayloadError(type, issues.map(asIssue), shown)
}

function asIssue({ path = [], message }: StandardSchemaV1.Issue): PayloadIssue {
  return { path: path.map((part) => String(keyOf(part))).join('.'), message }
}

function shownOf(
  { path = [], message }: StandardSchemaV1.Issue,
  names: ReadonlySet<string>,
  isQuoting: boolean,
): ShownIssue {
  const parts = path.map(keyOf).map((key) => (isIndex(key) || names.has(String(key)) ? String(key) : HIDDEN))
  return { path: parts.join('.'), message: isQuoting ? undefined : String(message) }
}

function keyOf(part: PropertyKey | StandardSchemaV1.PathSegment): PropertyKey {
  return typeof part === 'object' ? part.key : part
}

function isIndex(key: PropertyKey): boolean {
  return typeof key === 'number' && Number.isInteger(key) && key >= 0 && key < MOST_INDEX
}
