import { Queue, Worker } from 'bullmq'
import type { Urls } from './contend-millrace.ts'
import type { Contender, Handle } from './contender.ts'
import { expectEqual } from './contender.ts'
import { chunks, order } from './orders.ts'

const CONCURRENCY = 50
const QUEUE = 'jobs'

/** BullMQ's queue and worker, as its documentation has them for production: finished jobs are removed. */
export class Bullmq implements Contender {
  readonly #connection: { host: string; port: number; maxRetriesPerRequest: null; skipVersionCheck: true }
  #queue: Queue | undefined
  #worker: Worker | undefined
  #running: Promise<void> | undefined
  #handle: Handle = async () => {}

  constructor({ url }: Urls) {
    const { hostname: host, port } = new URL(url)
    this.#connection = { host, port: Number(port), maxRetriesPerRequest: null, skipVersionCheck: true }
  }

  async prepare(_round: string, count: number): Promise<void> {
    const queue = this.#open()
    for (const chunk of chunks(count)) await queue.addBulk(chunk.map((n) => ({ name: 'OrderPaid', data: order(n) })))
    const process = (job: { data: unknown }) => this.#handle(job.data)
    const options = { connection: this.#connection, concurrency: CONCURRENCY, autorun: false }
    this.#worker = new Worker(QUEUE, process, { ...options, removeOnComplete: { count: 0 } })
    this.#worker.on('error', () => {})
    await this.#worker.waitUntilReady()
  }

  async consume(handle: Handle, count: number): Promise<void> {
    const worker = this.#worker as Worker
    this.#handle = handle
    const done = new Promise<void>((resolve) => {
      let completed = 0
      worker.on('completed', () => void (++completed === count && resolve()))
    })
    this.#running = worker.run()
    await done
  }

  async check(): Promise<void> {
    await this.close()
    const counts = await this.#open().getJobCounts('waiting', 'active', 'delayed', 'failed')
    for (const [state, count] of Object.entries(counts)) expectEqual(`${state} jobs`, count, 0)
  }

  async close(): Promise<void> {
    await this.#worker?.close()
    await this.#running
    await this.#queue?.close()
    this.#worker = undefined
    this.#running = undefined
    this.#queue = undefined
  }

  #open(): Queue {
    this.#queue ??= new Queue(QUEUE, { connection: this.#connection })
    return this.#queue
  }
}
