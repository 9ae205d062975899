import { Redis } from 'ioredis'
import type { Urls } from './contend-millrace.ts'
import type { Contender, Handle } from './contender.ts'
import { expectEqual } from './contender.ts'
import { resetStream, streamLength } from './inspect.ts'
import { chunks, order, PRODUCER, STREAM } from './orders.ts'

/** What one writes by hand: the same entries, a thousand XADDs a pipeline; no checks. */
export class Xadd implements Contender {
  readonly #redis: Redis
  readonly #adminUrl: string

  constructor({ url, adminUrl }: Urls) {
    this.#redis = new Redis(url, { lazyConnect: true })
    this.#adminUrl = adminUrl
  }

  async prepare(): Promise<void> {
    await this.#redis.ping()
    await resetStream(this.#adminUrl)
  }

  async consume(handle: Handle, count: number): Promise<void> {
    for (const chunk of chunks(count)) {
      const pipeline = this.#redis.pipeline()
      for (const n of chunk) pipeline.xadd(STREAM, '*', ...fieldsOf(n))
      for (const [error, id] of (await pipeline.exec()) ?? []) {
        if (error) throw error
        await handle(id)
      }
    }
  }

  async check(count: number): Promise<void> {
    expectEqual('entries published', await streamLength(this.#adminUrl), count)
  }

  async close(): Promise<void> {
    this.#redis.disconnect()
  }
}

/** An entry as this package publishes it. */
function fieldsOf(n: number): string[] {
  const eventId = crypto.randomUUID()
  const occurredAt = new Date().toISOString()
  const envelope = ['eventId', eventId, 'eventType', 'OrderPaid', 'producer', PRODUCER, 'occurredAt', occurredAt]
  return [...envelope, 'payload', JSON.stringify(order(n))]
}
