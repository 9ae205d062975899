import { deadLetterHead } from '../core/dead-letter.ts'
import { PARKED } from '../core/keys.ts'
import type { Outcome } from '../core/outcome.ts'
import { RedisReplyError } from '../errors.ts'
import type { SettleCounts } from '../report.ts'
import type { Argument, Reply } from './clients/transport.ts'
import { asText, items } from './commands/reply.ts'
import { xack } from './commands/xack.ts'
import type { GroupAddress, Settlement, SettleResult, Slot } from './group.ts'
import { SETTLED, settle } from './scripts/settle.ts'
import type { Call } from './sender.ts'

/** What settles a batch: one XACK for the successes, one script a hundred of the rest; and how to read the answers. */
export interface SettleCalls {
  readonly calls: readonly Call[]
  /** @param replies One a call, in order; more may follow. */
  result(replies: readonly Reply[]): SettleResult
}

/** A longer script would keep others waiting. */
const CHUNK = 100

/** What a settlement that the script carried out counts as. */
const DONE_AS = { retry: 'retried', 'dead-letter': 'deadLettered', release: 'released' } as const

export function settleCalls(address: GroupAddress, slot: Slot, settlements: readonly Settlement[]): SettleCalls {
  const acks: string[] = []
  const rest: Settlement[] = []
  for (const settlement of settlements) {
    if (settlement.outcome.kind === 'ack') acks.push(settlement.id)
    else rest.push(settlement)
  }
  const chunks = Array.from({ length: Math.ceil(rest.length / CHUNK) }, (_, n) =>
    rest.slice(n * CHUNK, (n + 1) * CHUNK),
  )
  const scripts = chunks.map((chunk) => settleScript(address, slot, chunk))
  return {
    calls: acks.length > 0 ? [xack(address.stream, address.group, acks), ...scripts] : scripts,
    result(replies) {
      const tally = new Tally()
      let at = 0
      if (acks.length > 0) tally.acks(acks.length, replies[at++])
      for (const chunk of chunks) tally.chunk(chunk, replies[at++])
      return { counts: tally.counts, failures: [...tally.failures.values()], refusals: [...tally.refusals.values()] }
    },
  }
}

function settleScript({ stream, group, keys, settings }: GroupAddress, slot: Slot, chunk: readonly Settlement[]): Call {
  const origin = { stream, group, consumerName: slot.consumerName }
  const keep = Number.isFinite(settings.maxDeadLetters) ? settings.maxDeadLetters : ''
  const args: Argument[] = [group, slot.consumerName, slot.token, keep]
  for (const { id, deliveryCount, outcome } of chunk) {
    if (outcome.kind === 'dead-letter') {
      const head = deadLetterHead({ ...origin, entryId: id, deliveryCount }, outcome.letter)
      args.push('dead', id, deliveryCount, head.length, ...head)
    } else args.push('move', id, deliveryCount, ...moveArguments(outcome, deliveryCount, settings.minIdleMs))
  }
  return { script: settle, keys: [stream, keys.slot(slot.consumerName), keys.due, keys.deadLetters], args }
}

/**
 * Owner, idle time, count, delay. A wait of up to `minIdleMs` is kept by the idle clock, which starts that much below it; a longer one by
 * the due time, and the entry is looked at from `minIdleMs` on.
 */
function moveArguments(outcome: Outcome, deliveryCount: number, minIdleMs: number): Argument[] {
  if (outcome.kind === 'release') return [outcome.owner, Math.floor(outcome.idleMs), outcome.deliveryCount, '']
  const delayMs = outcome.kind === 'retry' ? outcome.delayMs : 0
  if (delayMs <= minIdleMs) return [PARKED, minIdleMs - delayMs, deliveryCount, '']
  return [PARKED, 0, deliveryCount, delayMs]
}

class Tally {
  readonly counts: SettleCounts = {
    acked: 0,
    ackMissed: 0,
    retried: 0,
    deadLettered: 0,
    released: 0,
    superseded: 0,
    unsettled: 0,
    lost: 0,
    deadLettersTrimmed: 0,
  }
  /** One a message: a hundred refusals of the same kind are one failure. */
  readonly failures = new Map<string, Error>()
  readonly refusals = new Map<string, Error>()

  acks(asked: number, reply: Reply | undefined): void {
    if (reply instanceof RedisReplyError) {
      this.#refused(asked, reply)
      return
    }
    this.counts.acked += asked
    this.counts.ackMissed += asked - Number(reply)
  }

  chunk(chunk: readonly Settlement[], reply: Reply | undefined): void {
    if (reply instanceof RedisReplyError) {
      this.#refused(chunk.length, reply)
      return
    }
    const [trimmed, ...statuses] = items(reply)
    this.counts.deadLettersTrimmed += Number(trimmed)
    for (const [n, { outcome }] of chunk.entries()) this.#entry(outcome, statuses[n])
  }

  #entry(outcome: Outcome, status: Reply | undefined): void {
    if (typeof status !== 'number') {
      const refusal = new RedisReplyError(`Cannot write a dead letter: ${asText(status)}`)
      this.refusals.set(refusal.message, refusal)
      this.counts.unsettled++
    } else if (status === SETTLED.leaseLost) this.counts.unsettled++
    else if (status === SETTLED.done && outcome.kind !== 'ack') this.counts[DONE_AS[outcome.kind]]++
    else this.counts.superseded++
    if (status === SETTLED.lost) this.counts.lost++
  }

  // a lost group is no failure of the invocation: the next read makes it again, and what it held comes again
  #refused(entries: number, error: RedisReplyError): void {
    this.counts.unsettled += entries
    if (!error.is('NOGROUP')) this.failures.set(error.message, error)
  }
}
