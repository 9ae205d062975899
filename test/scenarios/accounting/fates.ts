import { setTimeout as delay } from 'node:timers/promises'
import { NonRetryableError, RetryAfterError, UnavailableError } from 'millrace'
import type { Ending } from './books.ts'

/** What a handler goes by. */
export interface Circumstances {
  readonly deliveryCount: number
  /** Calls of this handler for this entry so far, this one included. */
  readonly calls: number
  readonly signal: AbortSignal
  /** An operator has fixed what was wrong with it. */
  readonly isMended: boolean
  /** Enters the gate, and resolves once that is open; at once if there is none. */
  enterGate(): Promise<void>
}

/** What an order makes its handler do: its id is the fate's name, how many times, and a number. */
interface Order {
  readonly fate: Fate
  readonly times: number
}

type Act = (times: number, circumstances: Circumstances) => void | Promise<void>

/** Longer than `minIdleMs`, so that the due time and not the idle clock keeps it. */
const LONG_MS = 300_000

/** Once the handler's time is over, throws that. */
function overtime(error: (times: number) => Error): Act {
  return async (times, { deliveryCount, signal }) => {
    if (deliveryCount > times) return
    if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
    throw error(times)
  }
}

const unavailable =
  (isLasting: boolean): Act =>
  (times, { calls }) => {
    if (calls <= times) throw new UnavailableError('no capacity', { isLasting })
  }

const FATES = {
  fine() {},
  slow: () => delay(5),
  fails(times, { deliveryCount }) {
    if (deliveryCount <= times) throw new Error('not yet')
  },
  never(_times, { isMended }) {
    if (!isMended) throw new Error('never')
  },
  async hopeless(_times, { isMended }) {
    if (!isMended) throw new NonRetryableError('no use')
  },
  later(times, { deliveryCount }) {
    if (deliveryCount <= times) throw new RetryAfterError(deliveryCount % 2 === 0 ? 20 : LONG_MS)
  },
  unavailable: unavailable(false),
  forbidden: unavailable(true),
  hangs: overtime(() => new Error('given up')),
  /** Says so only when its time is over: by then it has used up a delivery. */
  sulks: overtime(() => new UnavailableError('no capacity')),
  stuck(times, { deliveryCount }) {
    return deliveryCount <= times ? new Promise<void>(() => {}) : undefined
  },
  waits: (_times, { enterGate }) => enterGate(),
  /** In a batch, all of it fails. */
  explodes() {},
  /** In a batch, the answer names an entry that is none of it: all of it fails. */
  lies() {},
  async breaks(times, { deliveryCount, enterGate }) {
    await enterGate()
    if (deliveryCount <= times) throw new Error('not yet')
  },
} satisfies Record<string, Act>

export type Fate = keyof typeof FATES

let serial = 0

/** The id of a new order. */
export function orderOf(fate: Fate, times = 1): string {
  return `${fate}-${times}-${++serial}`
}

export function readOrder(orderId: string): Order {
  const [fate, times] = orderId.split('-')
  return { fate: fate as Fate, times: Number(times) }
}

/** Does what the order says; throws or rejects with what a handler would. */
export function perform(orderId: string, circumstances: Circumstances): void | Promise<void> {
  const { fate, times } = readOrder(orderId)
  return (FATES[fate] as Act)(times, circumstances)
}

/** How a handler ends that throws this. */
export function endingOf(error: unknown): Ending {
  if (error instanceof NonRetryableError) return 'hopeless'
  return error instanceof UnavailableError ? 'unavailable' : 'failed'
}
