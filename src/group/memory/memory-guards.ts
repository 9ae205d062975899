import type { Guard, StartBounds } from '../group.ts'
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
