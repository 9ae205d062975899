import { setTimeout as delay } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { defineConsumer, defineEvent, on, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'

const STREAM = 'orders'

/** Milliseconds that a poller keeps for a handler and for its end: it reads nothing more then. */
const LAST_MS = { handlerTimeoutMs: 500, reserveMs: 100 }

const Sampled = defineEvent('Sampled', { payload: anything() })

/** Reads a group's new events, for so long or until it is stopped. */
export interface Reader {
  /** @param received Called when an event is in the reader's hands. @returns Resolves once it has ended. */
  read(group: string, listenMs: number, received: (n: number) => void): Promise<unknown>
  /** Ends what reads now. */
  stop(): void
  close(): Promise<void>
}

export type ReaderName = keyof typeof READERS

/** What is compared. Both keep their connection from one run to the next, as a warm function does. */
export const READERS = { bare: bareLoop, listening } satisfies Record<string, (url: string) => Reader>

/** Resolves once somebody waits for events: what is published before a new group is there does not come. */
export async function untilWaiting(redis: Redis): Promise<void> {
  while (!/ flags=\w*b/.test(String(await redis.call('CLIENT', 'LIST')))) await delay(5)
}

export function publish(redis: Redis, n: number): Promise<unknown> {
  return redis.xadd(STREAM, 'MAXLEN', '~', 10_000, '*', 'eventType', 'Sampled', 'payload', JSON.stringify({ n }))
}

function bareLoop(url: string): Reader {
  const reader = new Redis(url, { protocol: 2 })
  const other = new Redis(url)
  let isOver = false
  return {
    async read(group, listenMs, received) {
      await other.xgroup('CREATE', STREAM, group, '$', 'MKSTREAM').catch(() => {})
      isOver = false
      const endsAt = performance.now() + listenMs - LAST_MS.handlerTimeoutMs - LAST_MS.reserveMs
      for (let leftMs = endsAt - performance.now(); !isOver && leftMs >= 1; leftMs = endsAt - performance.now()) {
        const block = Math.floor(Math.min(1_000, leftMs))
        const args = ['GROUP', group, 'c', 'COUNT', 100, 'BLOCK', block, 'STREAMS', STREAM, '>']
        const reply = (await reader.call('XREADGROUP', ...args)) as [string, [string, string[]][]][] | null
        for (const [id, fields] of reply?.[0]?.[1] ?? []) {
          received((JSON.parse(fields.at(-1) as string) as { n: number }).n)
          void other.xack(STREAM, group, id)
        }
      }
    },
    stop() {
      isOver = true
    },
    async close() {
      reader.disconnect()
      other.disconnect()
    },
  }
}

function listening(url: string): Reader {
  const redis = connectIoredis(url)
  let stop = new AbortController()
  return {
    async read(group, listenMs, received) {
      stop = new AbortController()
      const handler = on(Sampled, ({ payload }) => received((payload as { n: number }).n))
      const settings = { mode: 'listen', startAt: '$', minIdleMs: 10_000, ...LAST_MS } as const
      const consumer = defineConsumer({ stream: STREAM, group, routes: [handler], ...settings })
      await poll(consumer, { redis, remainingMs: listenMs, signal: stop.signal })
    },
    stop: () => stop.abort(),
    close: () => redis.close(),
  }
}

/** A schema that takes everything. */
function anything() {
  const validate = (value: unknown) => ({ value })
  return { '~standard': { version: 1 as const, vendor: 'bench', validate } }
}
