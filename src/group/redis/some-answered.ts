import { RedisConnectionError } from '../../errors.ts'

/**
 * What nodes of a cluster that are gone failed with, each in its place; `undefined`: it answered.
 *
 * @throws {Error} Another failure, or the first one where no node answered.
 */
export function failuresIfSomeAnswered(ends: readonly PromiseSettledResult<unknown>[]): (Error | undefined)[] {
  const failures = ends.map((end) => (end.status === 'rejected' ? (end.reason as Error) : undefined))
  const isNone = failures.every((failure) => failure !== undefined)
  const worst = failures.find((failure) => failure && (isNone || !(failure instanceof RedisConnectionError)))
  if (worst) throw worst
  return failures
}
