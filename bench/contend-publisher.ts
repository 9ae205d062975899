import type { Connection } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import type { Urls } from './contend-millrace.ts'
import type { Contender, Handle } from './contender.ts'
import { expectEqual } from './contender.ts'
import { resetStream, streamLength } from './inspect.ts'
import { publishOrders } from './orders.ts'

/** This package's `publishMany`, a thousand events per call, each checked by its schema. */
export class Publisher implements Contender {
  readonly #redis: Connection
  readonly #adminUrl: string

  constructor({ url, adminUrl }: Urls) {
    this.#redis = connectIoredis(url)
    this.#adminUrl = adminUrl
  }

  async prepare(): Promise<void> {
    await publishOrders(this.#redis, 1)
    await resetStream(this.#adminUrl)
  }

  async consume(handle: Handle, count: number): Promise<void> {
    await publishOrders(this.#redis, count, handle)
  }

  async check(count: number): Promise<void> {
    expectEqual('entries published', await streamLength(this.#adminUrl), count)
  }

  close(): Promise<void> {
    return this.#redis.close()
  }
}
