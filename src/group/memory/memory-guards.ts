import type { Entry, Field } from '../../core/entry.ts'
import type { StartClaimedBounds, StartGuardKey } from '../group.ts'
import type { MemoryGroupBase } from './memory-group-base.ts'
import type { MemoryValues } from './memory-values.ts'

/** Whether nothing starts while that is so. */
export function isGuardClosed(values: MemoryValues, { key, holds }: StartGuardKey): boolean {
  return holds === 'all' && values.typeOf(key) !== 'none'
}

/** Whether entries of a type are not to be started now. */
export function isTypeHeldByGuards(
  values: MemoryValues,
  type: string,
  unless: StartClaimedBounds['unless'],
  guards: readonly StartGuardKey[],
): boolean {
  if (unless?.values.includes(type)) return true
  return guards.some(({ key, holds }) => holds === 'values' && values.run(['sismember', key, type]) === 1)
}

/** Whether an entry is not started, by a policy's word. */
export function isStartForbidden(
  values: MemoryValues,
  { fields }: Entry,
  unless: StartClaimedBounds['unless'],
  guards: readonly StartGuardKey[],
): boolean {
  if (guards.some((guard) => isGuardClosed(values, guard))) return true
  const types = fields.filter(([name]) => String(name) === unless?.field).map(([, value]) => String(value))
  return types.some((type) => isTypeHeldByGuards(values, type, unless, guards))
}

/** Whether an entry is not started, by somebody's word. */
export function isPaused(calls: MemoryGroupBase, { fields }: Entry, unless: StartClaimedBounds['unless']): boolean {
  const isOfPaused = ([name, value]: Field) => String(name) === unless?.field && calls.isPaused(String(value))
  return calls.isAllPaused || fields.some(isOfPaused)
}
