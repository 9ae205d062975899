import { hashSlot } from '../core/keys.ts'
import { cannot } from '../core/options.ts'
import type { BoundPolicy, ConsumerFacts, PoliciesTogether, StartGuard } from '../define/policy.ts'
import { KINDS } from '../define/policy.ts'
import { quoted } from '../errors.ts'

/**
 * Checks all policies of a consumer and its routes.
 *
 * @throws {TypeError} Two that cannot be combined, what holds for a whole consumer on a route, or a bad guard.
 */
export function together(action: string, bound: readonly BoundPolicy[], facts: ConsumerFacts): PoliciesTogether {
  checkPlaces(action, bound)
  checkGuards(action, bound, facts)
  return {
    policies: asAsked(bound).filter(
      ({ policy: { begin, guard, needs, maxPollers } }) => begin ?? guard ?? needs ?? maxPollers,
    ),
  }
}

function checkPlaces(action: string, bound: readonly BoundPolicy[]): void {
  for (const { policy, eventType } of bound) {
    const { name, excludes, guard, maxPollers } = policy
    if (eventType !== undefined && (maxPollers ?? guard) !== undefined)
      throw cannot(action, `${quoted(name)} must be used on the consumer, got it on ${quoted(eventType)}`)
    const other = bound.find((one) => one.policy !== policy && excludes?.includes(one.policy.name))
    if (other) throw cannot(action, `${quoted(name)} cannot be combined with ${quoted(other.policy.name)}`)
  }
}

/** Checks what policies have the server check. */
function checkGuards(action: string, bound: readonly BoundPolicy[], { keys, typeField }: ConsumerFacts): void {
  for (const { policy } of bound) {
    const guard: Partial<StartGuard> | undefined = policy.guard?.(keys)
    if (!policy.guard) continue
    const rule = `guard of ${quoted(policy.name)} must answer`
    const { key, holds } = guard ?? {}
    if (typeof key !== 'string' || hashSlot(key) !== hashSlot(keys.stream))
      throw cannot(action, `${rule} a key in the stream's hash slot, got ${quoted(String(key))}`)
    if (holds !== 'all' && holds !== 'types') throw cannot(action, `${rule} what the key holds: 'all' or 'types'`)
    if (holds === 'types' && typeField === undefined)
      throw cannot(action, `${rule} 'all' where the codec has no typeField: the server does not know types`)
  }
}

/** In the order in which they are asked. */
function asAsked(bound: readonly BoundPolicy[]): readonly BoundPolicy[] {
  const place = ({ policy: { kind } }: BoundPolicy) => (kind ? KINDS.indexOf(kind) : KINDS.length)
  return bound.toSorted((a, b) => place(a) - place(b))
}
