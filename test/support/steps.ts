import { setTimeout as delay } from 'node:timers/promises'
import type { Connection, Consumer, ConsumerOptions, EventHandler, HandlerContext, PollOptions, Report } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, on, orderedBy, poll } from 'millrace'
import { onTestFinished, vi } from 'vitest'
import * as z from 'zod/mini'

export const Stepped = defineEvent('Stepped', { payload: z.object({ key: z.string(), step: z.number() }) })
/** The same, to be paused by itself. */
const Halted = defineEvent('Halted', { payload: z.object({ key: z.string(), step: z.number() }) })

/** Deliveries of steps: what started when, and what is not in order. */
export class Steps {
  readonly starts: { readonly key: string; readonly step: number; readonly count: number; readonly at: number }[] = []
  /** Starts that came before the step before them had ended, or beside another of their key. */
  readonly outOfOrder: string[] = []
  readonly #done = new Map<string, number>()
  readonly #running = new Set<string>()
  readonly #then: (key: string, step: number, context: HandlerContext) => unknown

  constructor(then: (key: string, step: number, context: HandlerContext) => unknown = () => {}) {
    this.#then = then
  }

  readonly handle: EventHandler = async (event, context) => {
    const { key, step } = event.payload as { key: string; step: number }
    const last = this.#done.get(key) ?? 0
    if (step > last + 1 || this.#running.has(key)) this.outOfOrder.push(`${key} ${step} after ${last}`)
    this.starts.push({ key, step, count: context.deliveryCount, at: performance.now() })
    this.#running.add(key)
    try {
      await this.#then(key, step, context)
      this.#done.set(key, Math.max(step, this.#done.get(key) ?? 0))
    } finally {
      this.#running.delete(key)
    }
  }

  /** The last step that a key has done. */
  done(key: string): number {
    return this.#done.get(key) ?? 0
  }

  async until(key: string, step: number, withinMs: number): Promise<void> {
    await vi.waitUntil(() => this.done(key) >= step, { timeout: withinMs, interval: 5 })
  }
}

/** Handlers are quick here, so that a run of a few seconds has time for them. */
const QUICK = { handlerTimeoutMs: 500, reserveMs: 100, minIdleMs: 6_000, mode: 'listen' } as const

/** Group `billing` on stream `orders`, in the order of aggregates. */
export function stepping(steps: Pick<Steps, 'handle'>, options: Partial<ConsumerOptions> = {}): Consumer {
  return defineConsumer({
    stream: 'orders',
    group: 'billing',
    routes: [on(Stepped, steps.handle), on(Halted, steps.handle)],
    concurrency: 10,
    backoff: { firstMs: 50, factor: 1, maxMs: 50 },
    use: [orderedBy(({ aggregateId }) => aggregateId)],
    ...QUICK,
    ...options,
  })
}

/** Publishes steps of keys, as `a1`. */
export function publishing(redis: Connection): (...steps: string[]) => Promise<void> {
  const publisher = createPublisher({ stream: 'orders', redis })
  return async (...steps) => {
    await publisher.publishMany(
      steps.map((text) => {
        const key = text.replace(/!?\d+$/, '')
        const step = Number(/\d+$/.exec(text)?.[0])
        return [text.includes('!') ? Halted : Stepped, { key, step }, { aggregateId: key }] as const
      }),
    )
  }
}

/** A poller that goes on until somebody ends it. */
export interface OpenPoll {
  readonly ended: Promise<Report>
  end(): Promise<Report>
}

export function startPoll(consumer: Consumer, options: PollOptions): OpenPoll {
  const stop = new AbortController()
  const ended = poll(consumer, { remainingMs: 60_000, signal: stop.signal, ...options })
  ended.catch(() => {})
  const end = () => {
    stop.abort()
    return ended
  }
  onTestFinished(async () => void (await end().catch(() => {})))
  return { ended, end }
}

export { delay }
