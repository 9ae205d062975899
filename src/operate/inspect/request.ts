import type { ConsumerLimit } from '../flow/consumer-limits.ts'
import type { OrderedConsumer } from './order-firsts.ts'

/** A group that somebody expects, and what its consumer's settings say of it. */
export interface ExpectedGroup {
  readonly group: string
  readonly deadLetters: string
  /** Poller slots. */
  readonly slots: number
  readonly limits: readonly ConsumerLimit[]
  /** Only of a consumer that keeps order. */
  readonly ordered?: OrderedConsumer | undefined
}

/** What is asked of a stream. */
export interface StreamInspectionRequest {
  readonly stream: string
  /** When it is, in milliseconds since 1970. */
  readonly at: number
  /** Only one group. */
  readonly group: string | undefined
  readonly expected: readonly ExpectedGroup[]
  /** The name of the set whose stream it is; `undefined`: of none that is known. */
  readonly set: string | undefined
}
