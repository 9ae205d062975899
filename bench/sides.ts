import type { Urls } from './contend-millrace.ts'
import type { Contender } from './contender.ts'
import type { Place } from './latency.ts'

/** A contender, and how it takes part. */
export interface Side {
  readonly title: string
  /** Loads what the side needs and no more: every side has a process of its own, and memory is measured. */
  readonly create: (urls: Urls) => Promise<Contender>
  /** Events of a round, as a part of `--entries`: rates are compared, so that the slower ones get fewer. */
  readonly part: number
  /** It reads the stream, which has its events before its turn. */
  readonly reads: boolean
  /** What its server is behind. Default: nothing. */
  readonly place?: Place
  /** Each of its runs has a process of its own: its memory is compared. */
  readonly isFresh?: boolean
}

async function millrace(urls: Urls): Promise<Contender> {
  const { Millrace } = await import('./contend-millrace.ts')
  return new Millrace(urls)
}

async function observed(urls: Urls): Promise<Contender> {
  const { Millrace } = await import('./contend-millrace.ts')
  const { reportLogs, reportMetrics } = await import('millrace/powertools')
  return new Millrace(urls, [reportMetrics(), reportLogs()])
}

async function claimer(urls: Urls): Promise<Contender> {
  const { Claimer } = await import('./contend-claimer.ts')
  return new Claimer(urls)
}

async function publisher(urls: Urls): Promise<Contender> {
  const { Publisher } = await import('./contend-publisher.ts')
  return new Publisher(urls)
}

async function loop(urls: Urls): Promise<Contender> {
  const { Raw } = await import('./contend-raw.ts')
  return new Raw(urls)
}

async function xadd(urls: Urls): Promise<Contender> {
  const { Xadd } = await import('./contend-xadd.ts')
  return new Xadd(urls)
}

async function bullmq(urls: Urls): Promise<Contender> {
  const { Bullmq } = await import('./contend-bullmq.ts')
  return new Bullmq(urls)
}

/** Everything that is measured; each in a process of its own. */
export const SIDES = {
  loop: { title: 'hand-written loop', create: loop, part: 1, reads: true },
  millrace: { title: 'millrace', create: millrace, part: 1, reads: true },
  observed: { title: 'millrace, with metrics and logs', create: observed, part: 1, reads: true },
  claimer: { title: 'millrace, claimer', create: claimer, part: 1 / 2, reads: true },
  loopFar: { title: 'hand-written loop, 2 ms away', create: loop, part: 1 / 5, reads: true, place: 'far' },
  millraceFar: { title: 'millrace, 2 ms away', create: millrace, part: 1 / 5, reads: true, place: 'far' },
  loopDurable: { title: 'hand-written loop, 5 ms a write', create: loop, part: 1 / 5, reads: true, place: 'durable' },
  millraceDurable: { title: 'millrace, 5 ms a write', create: millrace, part: 1 / 5, reads: true, place: 'durable' },
  xadd: { title: 'pipelined XADD', create: xadd, part: 1, reads: false },
  publisher: { title: 'millrace, publishMany', create: publisher, part: 1, reads: false },
  bullmq: { title: 'bullmq', create: bullmq, part: 1 / 10, reads: false },
  few: { title: 'millrace, memory of few', create: millrace, part: 1 / 10, reads: true, isFresh: true },
  many: { title: 'millrace, memory of many', create: millrace, part: 10, reads: true, isFresh: true },
} satisfies Record<string, Side>

export type SideName = keyof typeof SIDES
export const SIDE_NAMES = Object.keys(SIDES) as SideName[]
