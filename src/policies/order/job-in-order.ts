import type { DecidableJob } from '../../run/checked-policy-decision.ts'
import type { EntryInHand } from '../../run/entry-in-hand.ts'
import type { Job } from '../../run/job.ts'
import type { KeyInHand } from './key-in-hand.ts'

/** A call of a batch handler: its first events that stay undone, by key, as the places at which they stand. */
export interface BatchCall {
  readonly jobs: readonly DecidableJob[]
  readonly undone: Map<string, number>
  /** How many of its jobs were inspected. */
  inspected: number
}

/** What is known of a job that order is kept of. It lies in the job: a WeakMap beside it would cost each entry a microsecond, and the collector three. */
export class JobInOrder {
  /** That of today: first members of lanes that an older deployment made may share it. `undefined`: none, or none that can be read. */
  readonly keyText: string | undefined
  /** Its key cannot be read. */
  readonly error: Error | undefined
  /** As long as it has no outcome, and is not alone as the first of a lane. */
  key: KeyInHand | undefined = undefined
  /** It has left the pool's queue: it runs, or waits for the call of a batch route. */
  isStarted = false
  /** Once it stays undone. */
  undoneOf: KeyInHand | undefined = undefined
  /** The call of a batch route that it was handed over in, and its place there. */
  call: BatchCall | undefined = undefined
  at = 0

  constructor(keyText: string | undefined, error: Error | undefined) {
    this.keyText = keyText
    this.error = error
  }

  handedOver(call: BatchCall, at: number): void {
    this.call = call
    this.at = at
  }
}

/** `undefined` before somebody has taken note of it. */
export function inOrder(job: DecidableJob | EntryInHand): JobInOrder | undefined {
  return (job as Job).inOrder as JobInOrder | undefined
}
