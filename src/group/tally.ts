import { zeroSettleCounts } from '../core/counts.ts'
import { PARKED_CONSUMER } from '../core/keys.ts'
import type { Outcome } from '../core/outcome.ts'
import { OUTCOME_KINDS } from '../core/outcome.ts'
import type { RedisConnectionError } from '../errors.ts'
import { RedisReplyError } from '../errors.ts'
import type { DeadLetterSettlement, Settlement, SettleResult } from './group.ts'
import { isDeadLetterSettlement } from './group.ts'
import { SETTLE_SCRIPT_ANSWERS } from './redis/scripts/settle.ts'

/** Where an entry goes that is neither acked nor dead-lettered. */
export interface ReturnToPending {
  /** `parked` for what is set aside. */
  readonly owner: string
  readonly deliveryCount: number
  /** Milliseconds after which what is set aside comes back, unless it waits for a condition; -Infinity: before all else. */
  readonly delayMs: number
  readonly condition: string | undefined
}

/** @param isTaken It was set aside before: what had no turn then does not lose its place. */
export function planReturnToPending(outcome: Outcome, deliveryCount: number, isTaken = false): ReturnToPending {
  const delayMs = isTaken && outcome.kind === 'release' ? -Infinity : 0
  const move = { owner: PARKED_CONSUMER, deliveryCount, delayMs, condition: undefined }
  if (outcome.kind === 'release') return { ...move, condition: undefined, ...outcome }
  if (outcome.kind === 'park') return { ...move, condition: undefined, ...outcome, deliveryCount: deliveryCount - 1 }
  return outcome.kind === 'retry' ? { ...move, delayMs: outcome.delayMs } : move
}

/** Counts what became of settlements: the same for every adapter. */
export class Tally {
  readonly counts = zeroSettleCounts()
  /** One a message: a hundred refusals of the same kind are one failure. */
  readonly #failures = new Map<string, Error>()
  readonly #refusals = new Map<string, Error>()
  readonly #letters: DeadLetterSettlement[] = []
  readonly #refusedLetters: DeadLetterSettlement[] = []
  #leaseLost = false
  readonly #unanswered: Settlement[] = []
  readonly #notAcked: Settlement[] = []
  readonly #failed: { settlement: Settlement; refusal: string }[] = []

  /** An answered XACK: how many ids it held, and how many of them were pending. */
  acked(asked: number, pending: number): void {
    this.counts.acked += asked
    this.counts.ackMissed += asked - pending
  }

  /** An answered XACK of entries that were not for this group. */
  ignored(entries: number): void {
    this.counts.ignored += entries
  }

  /** One settlement that is not an ack. @param status A number of `SETTLED`, or the text with which its dead letter was refused. */
  settled(settlement: Settlement, status: number | string): void {
    const { outcome } = settlement
    const { done, duplicate } = SETTLE_SCRIPT_ANSWERS
    if (OUTCOME_KINDS[outcome.kind].op === 'join' && status !== done && status !== duplicate)
      this.#notAcked.push(settlement)
    if (typeof status === 'string') {
      const what = isDeadLetterSettlement(settlement) ? 'write a dead letter' : 'acknowledge with what joins it'
      const refusal = new RedisReplyError(`Cannot ${what}: ${status}`)
      this.#refusals.set(refusal.message, refusal)
      if (isDeadLetterSettlement(settlement)) this.#refusedLetters.push(settlement)
      this.counts.unsettled++
    } else if (status === SETTLE_SCRIPT_ANSWERS.leaseLost) {
      this.#leaseLost = true
      this.counts.unsettled++
    } else if (status === SETTLE_SCRIPT_ANSWERS.duplicate) {
      this.counts.acked++
      this.counts.duplicates++
    } else if (status === SETTLE_SCRIPT_ANSWERS.postponed) this.counts.parked++
    else if (status === SETTLE_SCRIPT_ANSWERS.done) {
      this.counts[OUTCOME_KINDS[outcome.kind].counter]++
      if (isDeadLetterSettlement(settlement)) this.#letters.push(settlement)
    } else this.counts.superseded++
    if (status === SETTLE_SCRIPT_ANSWERS.lost) this.counts.lost++
  }

  /** One whose effects cannot take place. @param refusal Why. */
  failed(settlement: Settlement, refusal: string): void {
    this.#failed.push({ settlement, refusal })
  }

  // a lost group is no failure of the invocation: the next read makes it again, and what it held comes again
  /** A command that the server refused, how many entries it was for, and which of them were to become dead letters. */
  refused(entries: number, error: RedisReplyError, letters: readonly DeadLetterSettlement[] = []): void {
    this.counts.unsettled += entries
    if (error.is('NOGROUP')) return
    this.#failures.set(error.message, error)
    this.#refusedLetters.push(...letters)
  }

  /** Settlements of which nothing is known. */
  unanswered(settlements: readonly Settlement[]): void {
    this.#unanswered.push(...settlements)
  }

  /** @param lost Why not all of the request was answered, if it was not. */
  result(lost?: RedisConnectionError): SettleResult {
    return {
      counts: this.counts,
      failures: [...this.#failures.values()],
      refusals: [...this.#refusals.values()],
      letters: this.#letters,
      refusedLetters: this.#refusedLetters,
      leaseLost: this.#leaseLost,
      ...(this.#notAcked.length > 0 && { notAcked: this.#notAcked }),
      ...(this.#failed.length > 0 && { failed: this.#failed }),
      ...(lost && { unanswered: { error: lost, settlements: this.#unanswered } }),
    }
  }
}
