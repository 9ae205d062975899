import type { Outcome } from '../core/outcome.ts'
import type { Delivery, Settlement } from '../group/group.ts'
import type { Prepared } from './prepare.ts'

/** A delivery in a run's hands, until the outcome that it gets is settled. */
export class Job {
  readonly id: string
  readonly deliveryCount: number
  readonly delivery: Delivery
  /** Milliseconds since 1970. */
  readonly deliveredAt: number
  /** There once its event was read. */
  prepared: Prepared | undefined = undefined
  outcome: Outcome | undefined = undefined
  /** What its handler failed with. */
  error: unknown = undefined
  /** Its handler did not end in time: its idle clock is not renewed any more. */
  overran = false

  constructor(delivery: Delivery, deliveredAt: number) {
    this.id = delivery.id
    this.deliveryCount = delivery.deliveryCount
    this.delivery = delivery
    this.deliveredAt = deliveredAt
  }

  /** Told to observers of what became of it. */
  get eventType(): string | undefined {
    return this.prepared?.event.type
  }

  /** It was to run and did not: it goes back whence it came, with one delivery less. */
  release(): void {
    this.outcome = { kind: 'release', ...this.delivery.returnTo, deliveryCount: this.deliveryCount - 1 }
  }
}

/** A job whose outcome is known: all that a settlement is. */
export function isDone(job: Job): job is Job & Settlement {
  return job.outcome !== undefined
}
