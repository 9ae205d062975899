import type { Entry, Field } from '../../core/entry.ts'
import type { Guard, StartBounds } from '../group.ts'
import type { MemoryCalls } from './memory-calls.ts'
import type { MemoryValues } from './memory-values.ts'

/** Whether nothing starts while that is so. */
export function isShut(values: MemoryValues, { key, holds }: Guard): boolean {
  return holds === 'all' && values.typeOf(key) !== 'none'
}

/** Whether entries of a type are not to be started now. */
export function isClosed(
  values: MemoryValues,
  type: string,
  unless: StartBounds['unless'],
  guards: readonly Guard[],
): boolean {
  if (unless?.values.includes(type)) return true
  return guards.some(({ key, holds }) => holds === 'values' && values.run(['sismember', key, type]) === 1)
}

/** Whether an entry is not started, by a policy's word. */
export function isLeft(
  values: MemoryValues,
  { fields }: Entry,
  unless: StartBounds['unless'],
  guards: readonly Guard[],
): boolean {
  if (guards.some((guard) => isShut(values, guard))) return true
  const types = fields.filter(([name]) => String(name) === unless?.field).map(([, value]) => String(value))
  return types.some((type) => isClosed(values, type, unless, guards))
}

/** Whether an entry is not started, by somebody's word. */
export function isPaused(calls: MemoryCalls, { fields }: Entry, unless: StartBounds['unless']): boolean {
  const isOfPaused = ([name, value]: Field) => String(name) === unless?.field && calls.isPaused(String(value))
  return calls.isAllPaused || fields.some(isOfPaused)
}
