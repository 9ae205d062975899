import type { Connection, Consumer } from 'millrace'
import { createPublisher, poll } from 'millrace'
import { claimOnce } from './claim-once.ts'
import { billing, OrderPaid } from './consumer.ts'

/** How often a function is invoked. */
const BEAT_MS = 1_000
/** How many events are published before each invocation. */
export const EVENTS = 5

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** What became of a client's events. */
export class Account {
  readonly acknowledged = new Set<string>()
  readonly handled = new Map<string, number>()
  readonly failures: string[] = []
  readonly #redis: Connection
  readonly #stream: string
  readonly #consumer: Consumer
  #events = 0

  constructor(redis: Connection, stream: string) {
    this.#redis = redis
    this.#stream = stream
    const handle = async ({ payload }: never) => {
      const { orderId } = payload as { orderId: string }
      this.handled.set(orderId, (this.handled.get(orderId) ?? 0) + 1)
    }
    this.#consumer = billing(handle, { stream, minIdleMs: 1_000, handlerTimeoutMs: 500, allowLongHandlers: true })
  }

  /** One invocation of an application that publishes, and of a poller. */
  async invoke(): Promise<void> {
    const ids = Array.from({ length: EVENTS }, () => `${this.#events++}`)
    const publisher = createPublisher({ stream: this.#stream, redis: this.#redis })
    const published = publisher.publishMany(ids.map((orderId) => [OrderPaid, { orderId }] as const))
    await published.then(
      () => ids.forEach((id) => void this.acknowledged.add(id)),
      (error: Error) => this.failures.push(`publish: ${error.message}`),
    )
    await poll(this.#consumer, { redis: this.#redis, remainingMs: 15_000 }).catch((error: Error) => {
      this.failures.push(`poll: ${error.message}`)
    })
  }

  async invokeEachSecond(times: number): Promise<void> {
    for (let n = 0; n < times; n++) await Promise.all([this.invoke(), pause(BEAT_MS)])
  }

  async settle(): Promise<void> {
    await pause(1_100)
    for (let n = 0; n < 3; n++) {
      await poll(this.#consumer, { redis: this.#redis, remainingMs: 15_000 }).catch(() => {})
      await claimOnce(this.#consumer, { redis: this.#redis, remainingMs: 15_000 }).catch(() => {})
    }
  }

  get numbers() {
    const twice = [...this.handled].filter(([, times]) => times > 1).length
    const lost = [...this.acknowledged].filter((id) => !this.handled.has(id)).length
    return { lost, twice, failed: this.failures.length }
  }
}
