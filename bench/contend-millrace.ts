import type { Connection, Observer, Report, ScheduledHandler } from 'millrace'
import { createPoller } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import type { Contender, Handle } from './contender.ts'
import { expectEqual } from './contender.ts'
import { unfinishedEntries } from './inspect.ts'
import { LAMBDA, ordersConsumer } from './orders.ts'

/** Where a contender connects, and where what checks it does, without the latency. */
export interface Urls {
  readonly url: string
  readonly adminUrl: string
}

/** This package: the poller as a Lambda function has it, with a checked schema and every guarantee on. */
export class Millrace implements Contender {
  readonly #redis: Connection
  readonly #adminUrl: string
  readonly #observe: readonly Observer[]
  #group = ''
  #report: Report | undefined

  /** @param observe Observers of what happens. Default: nobody. */
  constructor({ url, adminUrl }: Urls, observe: readonly Observer[] = []) {
    this.#redis = connectIoredis(url)
    this.#adminUrl = adminUrl
    this.#observe = observe
  }

  get roundTrips(): number {
    return this.#report?.roundTrips ?? 0
  }

  async prepare(round: string): Promise<void> {
    // a first invocation on an empty stream connects, as a warm execution environment is connected
    await this.#createPoller(`warm-${round}`, async () => {}, 'empty')(undefined, LAMBDA)
    this.#group = `millrace-${round}`
  }

  async consume(handle: Handle): Promise<void> {
    this.#report = await this.#createPoller(this.#group, handle)(undefined, LAMBDA)
  }

  async check(count: number): Promise<void> {
    expectEqual('entries read', this.#report?.read, count)
    expectEqual('entries acked', (this.#report?.acked ?? 0) - (this.#report?.ackMissed ?? 0), count)
    expectEqual('entries unfinished', await unfinishedEntries(this.#adminUrl, this.#group), 0)
  }

  close(): Promise<void> {
    return this.#redis.close()
  }

  #createPoller(group: string, handle: Handle, stream?: string): ScheduledHandler<Report> {
    return createPoller(ordersConsumer(group, handle, stream === undefined ? {} : { stream }), {
      redis: this.#redis,
      observe: this.#observe,
    })
  }
}
