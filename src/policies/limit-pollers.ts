import { wrongUseError } from '../core/options.ts'
import type { Consumer } from '../define/consumer.ts'
import type { PolicyOnRoute } from '../define/policy.ts'
import { quotedValue } from '../errors.ts'

/**
 * Pollers that may run at once, as far as policies allow.
 *
 * @param asked What somebody asks for; `undefined`: nobody does.
 * @throws {RangeError} That is more.
 */
export function limitPollers(
  action: string,
  maxPollers: number,
  asked: number | undefined,
  bound: readonly PolicyOnRoute[],
): number {
  for (const { policy } of bound)
    if (asked !== undefined && asked > mostPollers(policy))
      throw wrongUseError(
        action,
        `maxPollers must be <= ${policy.maxPollers}, or left out: ${quotedValue(policy.name)} lets no more run at once, got ${asked}`,
        RangeError,
      )
  return Math.min(maxPollers, ...bound.map(({ policy }) => mostPollers(policy)))
}

/** @throws {TypeError} No consumer of a poller may have a second one, so that it would never be called. */
export function assertScales(action: string, consumers: readonly Consumer[]): void {
  const names = consumers.flatMap(({ policies }) => policies.find(({ policy }) => mostPollers(policy) === 1) ?? [])
  if (names.length < consumers.length) return
  throw wrongUseError(
    action,
    `scaleOut must be left out: ${quotedValue(names[0]?.policy.name ?? '')} lets one poller run at a time, so that no further one would ever be called`,
  )
}

function mostPollers({ maxPollers = Infinity }: PolicyOnRoute['policy']): number {
  return maxPollers
}
