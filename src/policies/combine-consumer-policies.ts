import { exampleInSlot, hashSlot } from '../core/keys.ts'
import { wrongUseError } from '../core/options.ts'
import type {
  CombinedPolicies,
  ConsumerFactsForPolicies,
  PolicyDefinition,
  PolicyOnRoute,
  StartGuard,
} from '../define/policy.ts'
import { POLICY_KINDS } from '../define/policy.ts'
import { quotedValue } from '../errors.ts'
import { assertNotPromise } from './hook-answers.ts'
import { limitPollers } from './limit-pollers.ts'

/**
 * Checks all policies of a consumer and its routes.
 *
 * @throws {TypeError} Two that cannot be combined, what holds for a whole consumer on a route, or a bad guard.
 */
export function combineConsumerPolicies(
  action: string,
  bound: readonly PolicyOnRoute[],
  facts: ConsumerFactsForPolicies,
): CombinedPolicies {
  checkPlaces(action, bound)
  checkGuards(action, bound, facts)
  const maxPollers = limitPollers(action, facts.settings.maxPollers, undefined, bound)
  for (const one of bound) checkFit(action, one, { ...facts, settings: { ...facts.settings, maxPollers } })
  return {
    policies: asAsked(bound).filter(
      ({ policy: { begin, guard, needs, maxPollers } }) => begin ?? guard ?? needs ?? maxPollers,
    ),
  }
}

/** Kinds of which an event has one policy. */
const ONE_OF_A_KIND: readonly (typeof POLICY_KINDS)[number][] = ['breaker', 'order', 'idempotent']

/** Whether a policy of the consumer is of the kind that one of a route is. */
function isSecond(one: PolicyOnRoute, { kind }: PolicyDefinition, eventType: string | undefined): boolean {
  return eventType !== undefined && one.eventType === undefined && one.policy.kind === kind
}

function checkPlaces(action: string, bound: readonly PolicyOnRoute[]): void {
  for (const { policy, eventType } of bound) {
    const { name, kind, excludes, guard, maxPollers } = policy
    if (eventType !== undefined && (maxPollers ?? guard) !== undefined)
      throw wrongUseError(
        action,
        `${quotedValue(name)} must be used on the consumer, got it on ${quotedValue(eventType)}`,
      )
    if (kind && ONE_OF_A_KIND.includes(kind) && bound.some((one) => isSecond(one, policy, eventType)))
      throw wrongUseError(
        action,
        `an event must have one policy like ${quotedValue(name)}, got it on the consumer and on a route`,
      )
    const other = bound.find((one) => one.policy !== policy && excludes?.includes(one.policy.name))
    if (other)
      throw wrongUseError(action, `${quotedValue(name)} cannot be combined with ${quotedValue(other.policy.name)}`)
  }
}

/** @throws {TypeError | RangeError} The policy says that the settings of a route that it is used on do not go with it. */
function checkFit(
  action: string,
  { policy: { name, assertFits }, eventType }: PolicyOnRoute,
  { settings, routes }: ConsumerFactsForPolicies,
): void {
  try {
    const own = [...routes].filter(([type]) => type === (eventType ?? type))
    const batchTypes = own.flatMap(([type, { batching }]) => (batching ? [type] : []))
    // routes without settings of their own have the consumer's
    const all = [...new Set(own.map(([, route]) => route.settings))].map((one) => ({ ...settings, ...one }))
    for (const one of all) assertNotPromise(assertFits?.(one, { eventType, batchTypes, all }))
  } catch (error) {
    const Kind = error instanceof RangeError ? RangeError : TypeError
    throw wrongUseError(action, `${quotedValue(name)}: ${(error as Error).message}`, Kind)
  }
}

/** Checks what policies have the server check. */
function checkGuards(
  action: string,
  bound: readonly PolicyOnRoute[],
  { keys, typeField }: ConsumerFactsForPolicies,
): void {
  for (const { policy } of bound) {
    const guard: Partial<StartGuard> | undefined = policy.guard?.(keys)
    if (!policy.guard) continue
    const rule = `guard of ${quotedValue(policy.name)} must answer`
    const { key, holds } = guard ?? {}
    if (typeof key !== 'string' || hashSlot(key) !== hashSlot(keys.stream))
      throw wrongUseError(
        action,
        `${rule} a key in the stream's hash slot, as ${exampleInSlot(keys.stream)}, got ${quotedValue(String(key))}`,
      )
    if (holds !== 'all' && holds !== 'types')
      throw wrongUseError(action, `${rule} what the key holds: 'all' or 'types'`)
    if (holds === 'types' && typeField === undefined)
      throw wrongUseError(action, `${rule} 'all' where the codec has no typeField: the server does not know types`)
  }
}

/** In the order in which they are asked. */
function asAsked(bound: readonly PolicyOnRoute[]): readonly PolicyOnRoute[] {
  const place = ({ policy: { kind } }: PolicyOnRoute) => (kind ? POLICY_KINDS.indexOf(kind) : POLICY_KINDS.length)
  return bound.toSorted((a, b) => place(a) - place(b))
}
