import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { RunAnswer, RunRequest } from './reader-process.ts'
import type { ReaderName } from './readers.ts'
import { publish, untilWaiting } from './readers.ts'

/** An event every so many milliseconds. */
const EVERY_MS = 10
/** For how long a reader of those that take over from each other reads, and how soon the next one starts. */
const HANDED = { listenMs: 2_500, nextMs: 1_000 }
/** Who reads alone reads on until it is stopped. */
const STEADY_MS = 600_000

/**
 * Readers of one group in two processes, as two warm environments of a function: their starts and ends take no time of each other's. Times are from publishing to a handler's start, in milliseconds.
 */
export class TwoReaders {
  readonly #publisher: Redis
  readonly #group: string
  readonly #children: readonly ChildProcess[]
  #events = 0
  readonly #reading = new Set<ChildProcess>()

  constructor(name: ReaderName, publisher: Redis, url: string) {
    this.#publisher = publisher
    this.#group = `two-${name}`
    const file = join(import.meta.dirname, 'reader-process.ts')
    this.#children = [0, 1].map(() =>
      fork(file, [name, url], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'], serialization: 'advanced' }),
    )
  }

  /** One reads, in one process and then in the other, until so many events have come to each. */
  async steady(events: number): Promise<number[]> {
    const times: number[] = []
    for (const child of this.#children) {
      const run = this.#run(child, STEADY_MS)
      await untilWaiting(this.#publisher)
      const sentAt = await this.#publish(events, () => {})
      child.send('stop')
      times.push(...timesOf(sentAt, await run))
    }
    return times
  }

  /** They take over from each other so often at least, each started before the one before it ends. */
  async handing(times: number): Promise<number[]> {
    const runs: Promise<RunAnswer>[] = []
    let nextAt = Number.NEGATIVE_INFINITY
    const start = () => {
      const next = this.#children[runs.length % 2] as ChildProcess
      if (performance.now() < nextAt || this.#reading.has(next)) return
      nextAt = performance.now() + HANDED.nextMs
      runs.push(this.#run(next, HANDED.listenMs))
    }
    start()
    await untilWaiting(this.#publisher)
    const sentAt = await this.#publish((times * HANDED.nextMs) / EVERY_MS, start)
    return timesOf(sentAt, (await Promise.all(runs)).flat())
  }

  close(): void {
    for (const child of this.#children) child.disconnect()
  }

  /** @returns When each was published. @param between Called before each. */
  async #publish(events: number, between: () => void): Promise<ReadonlyMap<number, bigint>> {
    const sentAt = new Map<number, bigint>()
    for (let left = events; left > 0; left--) {
      between()
      const n = this.#events++
      sentAt.set(n, process.hrtime.bigint())
      void publish(this.#publisher, n)
      await delay(EVERY_MS)
    }
    await delay(200)
    return sentAt
  }

  async #run(child: ChildProcess, listenMs: number): Promise<RunAnswer> {
    const answer = once(child, 'message')
    const request: RunRequest = { group: this.#group, listenMs }
    child.send(request)
    this.#reading.add(child)
    const [taken] = await answer
    this.#reading.delete(child)
    return taken as RunAnswer
  }
}

function timesOf(sentAt: ReadonlyMap<number, bigint>, taken: RunAnswer): number[] {
  const came = new Map(taken)
  if (taken.length !== sentAt.size || came.size !== sentAt.size)
    throw new Error(`${sentAt.size} events were published, ${taken.length} handled, ${came.size} different ones`)
  return [...sentAt].map(([n, at]) => Number((came.get(n) as bigint) - at) / 1e6)
}
