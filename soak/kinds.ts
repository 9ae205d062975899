import { setTimeout as sleep } from 'node:timers/promises'
import type { DeadLetterReason, HandlerContext } from 'millrace'
import { defineEvent, NonRetryableError, RetryAfterError } from 'millrace'
import * as z from 'zod/mini'
import { SETTINGS } from './settings.ts'

const payload = z.object({
  kind: z.string(),
  /** How long the handler takes. */
  handlerMs: z.number(),
  /** Deliveries that fail before one succeeds. */
  failures: z.number(),
})

/** What an event makes its handler do. */
export const Work = defineEvent('Work', { payload })

/** The same of a later version: processes that know the older one only leave it to others. */
export const NewerWork = defineEvent('Work', { payload, version: 2, upcast: { 1: (order) => order } })

export function definitionOf({ kind }: Order) {
  return kind === 'newer' ? NewerWork : Work
}

export interface Order {
  readonly kind: string
  readonly handlerMs: number
  readonly failures: number
}

/** A kind of entry: how often, what its handler does, and as what kind of dead letter it may end without any fault. */
export interface Kind {
  /** How many of a thousand entries. */
  readonly share: number
  /** From and up to how many milliseconds its handler takes. */
  readonly handlerMs: readonly [number, number]
  /** `handled`: a dead letter only if faults took its deliveries. */
  readonly fate: 'handled' | DeadLetterReason
  /** Called once its time is over; `undefined`: no handler ever sees such an entry. */
  readonly act?: (order: Order, context: HandlerContext, die: Die) => Promise<never> | undefined
}

/** Notes that the process is about to die, or will not come back, and goes through with it; never resolves. */
export type Die = (how: 'exits' | 'throws' | 'blocks') => Promise<never>

/** Far beyond minIdleMs, so that nothing but its due time keeps an entry from being claimed. */
const RETRY_AFTER_MS = 3 * SETTINGS.minIdleMs

export const KINDS: Readonly<Record<string, Kind>> = {
  ok: { share: 690, handlerMs: [0, 60], fate: 'handled', act: () => undefined },
  newer: { share: 30, handlerMs: [0, 60], fate: 'handled', act: () => undefined },
  slow: { share: 70, handlerMs: [150, 0.9 * SETTINGS.handlerTimeoutMs], fate: 'handled', act: () => undefined },
  long: {
    share: 0,
    handlerMs: [0.7 * SETTINGS.handlerTimeoutMs, 0.9 * SETTINGS.handlerTimeoutMs],
    fate: 'handled',
    act: () => undefined,
  },
  flaky: {
    share: 70,
    handlerMs: [0, 20],
    fate: 'handled',
    act({ failures }, { deliveryCount }) {
      if (deliveryCount <= failures) throw new Error('not yet')
      return undefined
    },
  },
  patient: {
    share: 25,
    handlerMs: [0, 20],
    fate: 'handled',
    act(_order, { deliveryCount }) {
      if (deliveryCount === 1) throw new RetryAfterError(RETRY_AFTER_MS)
      return undefined
    },
  },
  endless: { share: 5, handlerMs: [5_000, 5_000], fate: 'max-deliveries', act: () => undefined },
  failing: {
    share: 25,
    handlerMs: [0, 20],
    fate: 'max-deliveries',
    act() {
      throw new Error('never')
    },
  },
  hopeless: {
    share: 50,
    handlerMs: [0, 20],
    fate: 'non-retryable',
    act() {
      throw new NonRetryableError('no use')
    },
  },
  malformed: { share: 35, handlerMs: [0, 0], fate: 'malformed' },
  exits: { share: 0, handlerMs: [0, 50], fate: 'crashed', act: (_order, _context, die) => die('exits') },
  throws: { share: 0, handlerMs: [0, 50], fate: 'crashed', act: (_order, _context, die) => die('throws') },
  blocks: { share: 0, handlerMs: [0, 50], fate: 'crashed', act: (_order, _context, die) => die('blocks') },
}

/** Kinds that kill their process. */
export const POISONS = Object.keys(KINDS).filter((name) => KINDS[name]?.fate === 'crashed')

/** Takes its time, which its signal ends, and then does what its kind does. */
export async function perform(order: Order, context: HandlerContext, die: Die): Promise<void> {
  if (order.handlerMs > 0) await sleep(order.handlerMs, undefined, { signal: context.signal })
  await KINDS[order.kind]?.act?.(order, context, die)
}

/** Milliseconds that an error asks to wait at least; 0 where it does not. */
export function waitOf(error: unknown, deliveryCount: number): number {
  if (error instanceof RetryAfterError) return error.retryAfterMs
  const { firstMs, factor, maxMs } = SETTINGS.backoff
  return Math.min(firstMs * factor ** (deliveryCount - 1), maxMs)
}
