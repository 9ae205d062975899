import type { StandardSchemaV1 } from '@standard-schema/spec'
import type { PayloadIssue } from '../errors.ts'

/** A schema's issues as where and what; the values stay out of it. */
export function issuesOf(issues: readonly StandardSchemaV1.Issue[]): PayloadIssue[] {
  return issues.map(({ path = [], message }) => ({
    path: path.map((part) => String(typeof part === 'object' ? part.key : part)).join('.'),
    message,
  }))
}
