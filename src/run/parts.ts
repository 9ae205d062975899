import type { Clock } from '../clock.ts'
import type { TimeBudget } from '../core/budget.ts'
import type { Consumer } from '../define/consumer.ts'
import type { Promotion } from '../define/delay-promoter.ts'
import type { LambdaContext } from '../define/handler.ts'
import type { ObservedInvocation } from '../define/observe.ts'
import type { Observers } from '../define/observers.ts'
import type { MemberPlaces } from '../define/set-places.ts'
import type { Group, Slot } from '../group/group.ts'
import type { ClaimerWake } from './claimer-wake.ts'
import type { RunReport } from './run-report.ts'
import type { FurtherPollers } from './scale-out.ts'

/** What a run is given. */
export interface RunParts {
  readonly action: 'poll' | 'claim'
  readonly consumer: Consumer
  readonly group: Group
  readonly slot: Slot
  readonly budget: TimeBudget
  readonly clock: Clock
  readonly signal: AbortSignal | undefined
  readonly report: RunReport
  /** Chance, from 0 to 1: the back-off's jitter. */
  readonly random: () => number
  readonly lambda: Partial<LambdaContext> | undefined
  /** What else is in Lambda's context, such as what a middleware put there. */
  readonly extras: object | undefined
  /** The pollers that the invocation may call. */
  readonly further: FurtherPollers | undefined
  /** Promotes a page of delayed events of the stream; `undefined` where the consumer does not. */
  readonly promote: (() => Promise<Promotion>) | undefined
  /** Who is woken for what is set aside until a time. */
  readonly claimerWake: ClaimerWake | undefined
  /** Milliseconds for which a poller listens after its last entry, or that may pass until something is due for a claimer to wait for it. */
  readonly lingerMs: number
  readonly invocation: ObservedInvocation
  /** Places that it shares with the other streams of its set; `undefined` where it is of none. */
  readonly shared?: MemberPlaces | undefined
  readonly observers: Observers | undefined
}
