import { answerWithin, systemClock } from '../clock.ts'
import { CALL_MS } from '../core/call-limits.ts'
import { consumerKeys } from '../core/keys.ts'
import { assertKnownOptions } from '../core/options.ts'
import type { DelayPromoter, Promotion, PromotionRequest } from '../define/delay-promoter.ts'
import { quotedValue } from '../errors.ts'
import type { Connection } from '../group/connection.ts'
import { promotionOf } from '../group/redis/promoting.ts'
import { checkWakes, type Wake } from './publisher-options.ts'
import { wakeIfRaised } from './wake-if-raised.ts'

/** Whom a promoter wakes. */
export interface PromoteDelaysOptions {
  /**
   * Pollers to wake when something of theirs was promoted, as from `wakePoller` of `millrace/lambda`: of these, those that its publisher wakes. Default: none;
   * their schedule finds what was promoted.
   */
  readonly wake?: Wake | readonly Wake[]
}

/**
 * Has the runs of a consumer bring delayed events of its stream into it when they are due. It takes one such consumer on a stream; with several, each event
 * still comes once.
 *
 * @throws {TypeError | RangeError} A bad option.
 */
export function promoteDelays(options: PromoteDelaysOptions = {}): DelayPromoter {
  const action = 'make promoteDelays'
  assertKnownOptions(action, options, ['wake'])
  const wakes = checkWakes(action, options.wake ?? [])
  return Object.freeze({ promote: (request: PromotionRequest) => promote(wakes, request) })
}

async function promote(wakes: readonly Wake[], request: PromotionRequest): Promise<Promotion> {
  const { redis, stream, remainingMs, ownGroup } = request
  const promotion = promotionOf(
    `promote delayed events of stream ${quotedValue(stream)}`,
    redis as Connection,
    remainingMs,
  )
  const { groups, refusal, ...page } = await promotion.promote(stream)
  const called = wakes.filter(({ group }) => group !== ownGroup && groups.includes(group))
  const told = { ...page, refusals: refusal ? [refusal] : [] }
  // the rest is for settling
  const limitMs = Math.min(CALL_MS.max, (remainingMs?.() ?? Infinity) / 2)
  if (called.length === 0 || limitMs < CALL_MS.min) return told
  const flags = called.map(({ group, windowMs }) => ({ key: consumerKeys(stream, group).wake, windowMs }))
  const raised = await promotion.raise(stream, flags)
  const waking = Promise.all(called.map((wake, n) => wakeIfRaised(wake, raised[n]))).then(() => {})
  // who is late may still be woken
  return { ...told, woken: answerWithin(systemClock, limitMs, waking).catch(() => {}) }
}
