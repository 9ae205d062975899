import { Redis } from 'ioredis'
import type { Urls } from './contend-millrace.ts'
import type { Contender, Handle } from './contender.ts'
import { expectEqual } from './contender.ts'
import { unfinishedEntries } from './inspect.ts'
import { BATCH_SIZE, STREAM } from './orders.ts'

type StreamsReply = [stream: string, entries: [id: string, fields: string[]][]][] | null

/** The loop one writes by hand: read, handle, ack; no checks, no limits, no retries. */
export class Raw implements Contender {
  readonly #redis: Redis
  readonly #adminUrl: string
  #group = ''
  #acked = 0
  #requests = 0

  constructor({ url, adminUrl }: Urls) {
    this.#redis = new Redis(url, { lazyConnect: true })
    this.#adminUrl = adminUrl
  }

  get roundTrips(): number {
    return this.#requests
  }

  async prepare(round: string): Promise<void> {
    this.#group = `raw-${round}`
    this.#acked = 0
    this.#requests = 0
    await this.#redis.xgroup('CREATE', STREAM, this.#group, '0')
  }

  async consume(handle: Handle): Promise<void> {
    for (;;) {
      const reply = await this.#read()
      this.#requests++
      if (reply === null) return
      const ids: string[] = []
      for (const [id, fields] of reply[0]?.[1] ?? []) {
        await handle(JSON.parse(fields[fields.indexOf('payload') + 1] as string))
        ids.push(id)
      }
      this.#acked += await this.#redis.xack(STREAM, this.#group, ...ids)
      this.#requests++
    }
  }

  #read(): Promise<StreamsReply> {
    const read = this.#redis.xreadgroup('GROUP', this.#group, 'raw', 'COUNT', BATCH_SIZE, 'STREAMS', STREAM, '>')
    return read as Promise<StreamsReply>
  }

  async check(count: number): Promise<void> {
    expectEqual('entries acked', this.#acked, count)
    expectEqual('entries unfinished', await unfinishedEntries(this.#adminUrl, this.#group), 0)
  }

  async close(): Promise<void> {
    this.#redis.disconnect()
  }
}
