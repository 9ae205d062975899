import type { Connection, Report } from 'millrace'
import { createClaimer, createPoller } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import type { Urls } from './contend-millrace.ts'
import type { Contender, Handle } from './contender.ts'
import { expectEqual } from './contender.ts'
import { unfinishedEntries } from './inspect.ts'
import { LAMBDA, ordersConsumer } from './orders.ts'

/** This package's claimer, on entries that have all failed once and are due: none is at its last delivery. */
export class Claimer implements Contender {
  readonly #redis: Connection
  readonly #adminUrl: string
  #group = ''
  #report: Report | undefined

  constructor({ url, adminUrl }: Urls) {
    this.#redis = connectIoredis(url)
    this.#adminUrl = adminUrl
  }

  get roundTrips(): number {
    return this.#report?.roundTrips ?? 0
  }

  async prepare(round: string, count: number): Promise<void> {
    this.#group = `claimer-${round}`
    const fail = () => Promise.reject(new Error('the first delivery fails'))
    // due again at once, and no bound keeps the poller from letting all of them fail
    const failing = ordersConsumer(this.#group, fail, { maxPending: count + 1, backoff: { firstMs: 1, maxMs: 1 } })
    const report = await createPoller(failing, { redis: this.#redis })(undefined, LAMBDA)
    expectEqual('entries to retry', report.retried, count)
  }

  async consume(handle: Handle): Promise<void> {
    this.#report = await createClaimer(ordersConsumer(this.#group, handle), { redis: this.#redis })(undefined, LAMBDA)
  }

  async check(count: number): Promise<void> {
    expectEqual('entries claimed', this.#report?.claimed, count)
    expectEqual('entries acked', (this.#report?.acked ?? 0) - (this.#report?.ackMissed ?? 0), count)
    expectEqual('entries unfinished', await unfinishedEntries(this.#adminUrl, this.#group), 0)
  }

  close(): Promise<void> {
    return this.#redis.close()
  }
}
