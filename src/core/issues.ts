import type { PayloadIssue } from '../errors.ts'

/** An issue as Standard Schema has it. */
interface SchemaIssue {
  readonly message: string
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

/** A schema's issues as where and what. */
export function issuesOf(issues: readonly SchemaIssue[]): PayloadIssue[] {
  return issues.map(({ path = [], message }) => ({
    path: path.map((part) => String(typeof part === 'object' ? part.key : part)).join('.'),
    message,
  }))
}
