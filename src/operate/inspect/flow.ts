import { type OpenBreaker, parseBreakers } from '../../core/gates.ts'
import type { ConsumerKeys } from '../../core/keys.ts'
import { replyAsRecord, replyAsText } from '../../group/redis/commands/reply.ts'
import { breakerText } from '../../policies/flow/known-breakers.ts'
import type { ServerQuestion } from '../ask.ts'
import type { BreakerInspection, ConditionInspection } from './inspection.ts'

/** The reason of entries that wait for a circuit breaker. */
const BREAKER_REASON = 'circuitBreaker'

/** The open circuit breakers of a group. */
export function breakersQuestion({ breakers }: Pick<ConsumerKeys, 'breakers'>): ServerQuestion<readonly OpenBreaker[]> {
  return {
    call: ['hgetall', breakers],
    right: '+hgetall',
    read: (reply) =>
      parseBreakers(Object.entries(replyAsRecord(reply)).map(([name, text]) => [name, replyAsText(text)])).toSorted(
        (a, b) => (a.eventType < b.eventType ? -1 : 1),
      ),
  }
}

/** @param conditions What entries wait for; `undefined`: not known. @param at Milliseconds since 1970, on the server's clock. */
export function breakerOf(
  { eventType, openedAt, probeAt, probe, probeUntil = 0, lastProbe, error }: OpenBreaker,
  conditions: readonly ConditionInspection[] | undefined,
  at: number,
): BreakerInspection {
  const isProbed = probe !== undefined && probeUntil > at
  const waiting = conditions?.find(({ reason, what }) => reason === BREAKER_REASON && what === breakerText(eventType))
  return {
    eventType,
    openMs: Math.max(0, Math.round(at - openedAt)),
    nextProbeInMs: Math.round(probeAt - at),
    ...(isProbed && { probe: { entryId: probe, endsInMs: Math.round(probeUntil - at) } }),
    ...(lastProbe !== undefined && { lastProbeId: lastProbe }),
    error,
    ...(conditions && { waiting: waiting?.entries ?? 0 }),
  }
}
