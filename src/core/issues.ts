import { MAX_KEPT_ISSUES } from '../errors.ts'
import { ignoreRejectionsWithin, isThenable } from './thenable.ts'

/** What a schema answered, read once. */
export type SchemaResult =
  | { readonly issues: readonly SchemaIssue[] }
  | { readonly issues?: undefined; readonly value: unknown }

/** One thing that a schema found wrong, as it says so. */
export interface SchemaIssue {
  /** A number is an array's index. */
  readonly path: readonly (string | number)[]
  readonly message: string
}

/** A schema's answer as Standard Schema has it; any other is an issue of the payload, since nothing says that it fits. */
export function readSchemaResult(result: unknown): SchemaResult {
  try {
    const { issues } = (result ?? {}) as { readonly issues?: unknown }
    if (issues !== undefined && issues !== null) return { issues: issuesOf(issues) }
    if (typeof result === 'object' && result !== null && 'value' in result) return valueIn(result.value)
    return oneIssue('its schema answered neither a value nor issues')
  } catch {
    return oneIssue('its schema gave an answer that cannot be read')
  }
}

/** One issue, of the payload itself. */
export function oneIssue(message: string): { readonly issues: readonly SchemaIssue[] } {
  return { issues: [{ path: [], message }] }
}

function valueIn(value: unknown): SchemaResult {
  if (!isThenable(value)) return { value }
  ignoreRejectionsWithin(value)
  return oneIssue('its schema gave a promise as value')
}

function issuesOf(issues: unknown): readonly SchemaIssue[] {
  ignoreRejectionsWithin(issues)
  if (Array.isArray(issues)) return issues.slice(0, MAX_KEPT_ISSUES).map(issueOf)
  return oneIssue('its schema gave issues that are no array').issues
}

function issueOf(issue: unknown): SchemaIssue {
  try {
    const { path, message } = issue as { readonly path?: unknown; readonly message?: unknown }
    const segments: unknown[] = Array.isArray(path) ? path.slice(0, MAX_KEPT_ISSUES) : []
    return { path: segments.map(segmentOf), message: String(message) }
  } catch {
    return { path: [], message: 'its schema gave an issue that cannot be read' }
  }
}

function segmentOf(part: unknown): string | number {
  const key = typeof part === 'object' && part !== null ? (part as { readonly key?: unknown }).key : part
  return typeof key === 'number' ? key : String(key)
}
