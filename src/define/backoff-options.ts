import type { Backoff } from '../core/backoff.ts'
import { MAX_DELAY_MS } from '../core/backoff.ts'
import { assertKnownKeys, assertNumber, assertObject, withDefaults, wrongUseError } from '../core/options.ts'

/** Where nobody says otherwise. */
export const DEFAULT_BACKOFF: Backoff = { firstMs: 1_000, factor: 2, maxMs: 60_000 }

/**
 * Fills in what is left out, and checks ranges.
 *
 * @param defaults What a member is that is left out.
 * @throws {TypeError | RangeError} A bad member, or one that is not known.
 */
export function resolveBackoff(
  action: string,
  given: Partial<Backoff> = {},
  defaults: Backoff = DEFAULT_BACKOFF,
): Backoff {
  assertObject(action, 'backoff', given, '{ firstMs, factor, maxMs }')
  assertKnownKeys(`${action}: backoff`, given, Object.keys(DEFAULT_BACKOFF))
  const backoff = withDefaults(defaults, given)
  assertNumber(action, 'backoff.firstMs', backoff.firstMs, 0)
  assertNumber(action, 'backoff.factor', backoff.factor, 1)
  assertNumber(action, 'backoff.maxMs', backoff.maxMs, 0)
  // one of them alone is shortened by the other's default
  if ((given.firstMs ?? 0) > (given.maxMs ?? Infinity))
    throw wrongUseError(
      action,
      `backoff.firstMs must be <= backoff.maxMs, got ${given.firstMs} and ${given.maxMs}`,
      RangeError,
    )
  return Object.freeze({ ...backoff, maxMs: Math.floor(Math.min(backoff.maxMs, MAX_DELAY_MS)) })
}
