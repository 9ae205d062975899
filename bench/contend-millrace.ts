import type { Connection, Report, ScheduledHandler } from 'millrace'
import { createPoller, defineConsumer, on } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import type { Contender, Handle } from './contender.ts'
import { expectEqual } from './contender.ts'
import { unfinishedEntries } from './inspect.ts'
import { BATCH_SIZE, OrderPaid, STREAM } from './orders.ts'

/** What a whole invocation of Lambda has: the run is bounded by its entries, not by its time. */
const INVOCATION_MS = 900_000

/** This package: the poller as a Lambda function has it, with a checked schema and every guarantee on. */
export class Millrace implements Contender {
  readonly name = 'millrace'
  readonly #redis: Connection
  readonly #adminUrl: string
  #group = ''
  #report: Report | undefined

  /** @param url Where the poller connects. @param adminUrl Where the checks do, without the latency. */
  constructor(url: string, adminUrl: string) {
    this.#redis = connectIoredis(url)
    this.#adminUrl = adminUrl
  }

  /** Requests of the last run, each with one or more commands. */
  get roundTrips(): number {
    return this.#report?.roundTrips ?? 0
  }

  async prepare(round: string): Promise<void> {
    // a first invocation on an empty stream connects, as a warm execution environment is connected
    await createOrdersPoller(`warm-${round}`, this.#redis, async () => {}, 'empty')(undefined, LAMBDA)
    this.#group = `millrace-${round}`
  }

  async consume(handle: Handle): Promise<void> {
    this.#report = await createOrdersPoller(this.#group, this.#redis, handle)(undefined, LAMBDA)
  }

  async check(count: number): Promise<void> {
    expectEqual('entries read', this.#report?.read, count)
    expectEqual('entries acked', (this.#report?.acked ?? 0) - (this.#report?.ackMissed ?? 0), count)
    expectEqual('entries unfinished', await unfinishedEntries(this.#adminUrl, this.#group), 0)
  }

  close(): Promise<void> {
    return this.#redis.close()
  }
}

const LAMBDA = { functionName: 'bench', awsRequestId: 'bench', getRemainingTimeInMillis: () => INVOCATION_MS }

function createOrdersPoller(
  group: string,
  redis: Connection,
  handle: Handle,
  stream: string = STREAM,
): ScheduledHandler<Report> {
  const routes = [on(OrderPaid, (event) => handle(event.payload))]
  return createPoller(defineConsumer({ stream, group, routes, batchSize: BATCH_SIZE }), { redis })
}
