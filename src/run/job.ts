import type { Field } from '../core/entry.ts'
import { bytesOf, namesAndValuesOf } from '../core/entry.ts'
import { PARKED_CONSUMER } from '../core/keys.ts'
import type { Outcome } from '../core/outcome.ts'
import type { RouteSettings } from '../define/consumer-settings.ts'
import type { Event } from '../define/event.ts'
import type { PolicyJob } from '../define/policy.ts'
import type { BoundRoute } from '../define/route-settings.ts'
import type { Delivery } from '../group/delivery.ts'
import type { SettlementEffects } from '../group/group.ts'
import type { EntryInHand } from './entry-in-hand.ts'
import { runsAlone } from './feed/suspects.ts'
import type { FailedCall } from './policy-engine.ts'
import type { PreparedEntry } from './prepare.ts'
import type { Run } from './run.ts'

/** A delivery in a run's hands, until the outcome that it gets is settled. */
export class Job implements EntryInHand, PolicyJob {
  readonly run: Run
  readonly id: string
  readonly deliveryCount: number
  readonly delivery: Delivery
  /** Of its names and values. */
  readonly bytes: number
  /** Milliseconds since 1970. */
  readonly deliveredAt: number
  /** There once its type is known. */
  route: BoundRoute | undefined = undefined
  /** There once its event was read. */
  prepared: PreparedEntry | undefined = undefined
  outcome: Outcome | undefined = undefined
  /** What its failure means, unless a policy says otherwise, which has yet to. */
  verdict: Outcome | undefined = undefined
  /** The call that it failed in, which ends once a policy has said so. */
  failedCall: FailedCall | undefined = undefined
  /** What its handler asked for, of an outcome that acknowledges with it. */
  effects: SettlementEffects | undefined = undefined
  /** What its handler failed with. */
  error: unknown = undefined
  overran = false
  /** The others of its call come in the order of their keys. Set by who keeps it. */
  declare isInOrder?: boolean
  /** What who keeps order knows of it. */
  declare inOrder?: object
  /** No time was left to start it. */
  hadNoTurn = false

  constructor(run: Run, delivery: Delivery, deliveredAt: number) {
    this.run = run
    this.id = delivery.id
    this.deliveryCount = delivery.deliveryCount
    this.delivery = delivery
    this.bytes = bytesOf(namesAndValuesOf(delivery))
    this.deliveredAt = deliveredAt
  }

  /** Of its route, once that is known. */
  get settings(): RouteSettings {
    return (this.route ?? this.run.parts.consumer).settings
  }

  /** Milliseconds that its handler may take; as long as its route is not known, at least that. */
  get neededMs(): number {
    return this.route?.settings.handlerTimeoutMs ?? this.run.parts.consumer.routeBounds.shortestTimeoutMs
  }

  /** Shown to observers of what became of it. */
  get eventType(): string | undefined {
    return this.prepared?.event.type
  }

  get entryId(): string {
    return this.id
  }

  get fields(): readonly Field[] {
    return this.delivery.fields
  }

  get event(): Event | undefined {
    return this.prepared?.event
  }

  /** It has its outcome, or a policy has yet to say whether this is it. */
  get isJudged(): boolean {
    return this.outcome !== undefined || this.verdict !== undefined
  }

  /** The index may have it. */
  get isTaken(): boolean | undefined {
    return this.delivery.isTaken
  }

  /** Its type is paused: it is set aside until that is over, and had no delivery; or, if it was left behind, goes back to where it came from. */
  pause(condition: string): void {
    this.outcome = this.#isSuspect ? this.#released(undefined) : { kind: 'park', delayMs: 0, condition }
  }

  /**
   * The outcome of what is not called now: it is set aside, and had no delivery. A suspect that has to run alone goes back to where it came from, or others would run beside it
   * once it comes back.
   *
   * @param condition What it waits for. Default: only for that time.
   */
  setAside(delayMs: number, condition?: string): Outcome {
    if (this.#isSuspect && runsAlone(this.deliveryCount, this.settings.maxDeliveries)) return this.#released(undefined)
    return { kind: 'park', delayMs, condition }
  }

  /** It was to run and did not: it goes back to where it came from, with one delivery less. @param condition What it waits for. Default: nothing. */
  release(condition?: string): void {
    this.outcome = this.#released(condition)
  }

  #released(condition: string | undefined): Outcome {
    const { returnTo: owner } = this.delivery
    const deliveryCount = this.deliveryCount - 1
    // a suspect that was set aside would be none
    return this.#isSuspect
      ? { kind: 'release', owner, deliveryCount }
      : { kind: 'release', owner, deliveryCount, condition }
  }

  /** It was left behind by a process that died, and may be what killed it. */
  get #isSuspect(): boolean {
    return this.delivery.returnTo !== PARKED_CONSUMER
  }
}
