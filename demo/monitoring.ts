import { setTimeout as sleep } from 'node:timers/promises'
import { createPublisher, type Publication, type Report } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { SampleTaken } from '../examples/monitoring/events.ts'
import { LEVELS, type Level, readBuckets } from '../examples/monitoring/rollups.ts'
import type { Equation } from './equation.ts'
import { auditLevel } from './monitoring/audit.ts'
import type { Sample } from './monitoring/offline.ts'
import { linesOf } from './monitoring/screen.ts'
import { measure, SERIES_COUNT } from './monitoring/sources.ts'
import { createRandom, type Random } from './random.ts'
import { startSchedule } from './schedule.ts'
import type { SystemDemo } from './system-demo.ts'

const TICK_MS = 100
const MINUTE_MS = 60_000
/** After which what is still undone is missing in the account. */
const PATIENCE_MS = 20_000

/** What was published, and what should become of it. */
interface Sent {
  entries: number
  /** Samples that count, each once. */
  readonly samples: Sample[]
  duplicates: number
  late: number
  /** Of a series beyond the cap. */
  beyond: number
  /** Ahead of the server's clock: dead letters. */
  ahead: number
}

/** Twelve series of simulated sources, some of whose samples come twice, late, from the future, or from a source that has no place. */
export const demo: SystemDemo = {
  async run({ url, seconds, seed, signal, ...stage }) {
    process.env.MAX_SERIES = String(SERIES_COUNT)
    const { handler: poller } = await import('../examples/monitoring/poller.ts')
    const { handler: claimer } = await import('../examples/monitoring/claimer.ts')
    const { client, redis } = await import('../examples/monitoring/redis.ts')
    const connection = connectIoredis(url)
    const publisher = createPublisher({ stream: 'samples', redis: connection, producer: 'demo' })
    const random = createRandom(seed)
    const sent: Sent = { entries: 0, samples: [], duplicates: 0, late: 0, beyond: 0, ahead: 0 }
    const done = { settled: 0, duplicates: 0, deadLettered: 0, failures: [] as Error[] }
    const onEnd = (result: Report | Error) => {
      if (result instanceof Error) return void done.failures.push(result)
      done.settled += result.acked + result.deadLettered
      done.duplicates += result.duplicates
      done.deadLettered += result.deadLettered
    }
    const schedule = startSchedule([
      { functionName: 'poller', everyMs: 200, handler: poller, onEnd },
      { functionName: 'claimer', everyMs: 1_000, handler: claimer, onEnd },
    ])
    try {
      const end = performance.now() + seconds * 1_000
      while (performance.now() < end || (done.settled < sent.entries && performance.now() < end + PATIENCE_MS)) {
        signal.throwIfAborted()
        if (done.failures.length > 0) throw done.failures[0]
        if (performance.now() < end) await publisher.publishMany(draw(random, sent))
        stage.show(await linesOf(client, sent.samples))
        await sleep(TICK_MS)
      }
      const refused = await client.hgetall('{samples}:refused')
      const audits = await Promise.all(
        (Object.keys(LEVELS) as Level[]).map((level) =>
          auditLevel(sent.samples, level, (series, from, to) => readBuckets(client, series, level, from, to)),
        ),
      )
      return [
        accountOf(
          sent,
          done,
          refused,
          audits.map(({ counted }) => counted),
        ),
        ...audits.flatMap(({ equations }) => equations),
      ]
    } finally {
      await schedule.stop()
      client.disconnect()
      await Promise.all([redis.close(), connection.close()])
    }
  },
}

/** What is published in a tick: a sample of each series, and now and then one of each kind of trouble. */
function draw(random: Random, sent: Sent): Publication[] {
  const now = Date.now()
  const fresh = measure(random, now, 1_000)
  const old = random.integer(0, 10) === 0 ? measure(random, now - 20 * MINUTE_MS, 1_000) : []
  sent.samples.push(...fresh, ...old)
  const twice = [...fresh, ...old].filter(() => random.integer(0, 5) === 0)
  const [any] = fresh as [Sample]
  const late = random.integer(0, 5) === 0 ? [{ ...any, at: now - 61 * MINUTE_MS }] : []
  const beyond = random.integer(0, 5) === 0 && sent.entries > 0 ? [{ ...any, source: `new-${sent.entries}` }] : []
  const ahead = random.integer(0, 20) === 0 ? [{ ...any, at: now + 2 * MINUTE_MS }] : []
  sent.duplicates += twice.length
  sent.late += late.length
  sent.beyond += beyond.length
  sent.ahead += ahead.length
  const once = [...fresh, ...old, ...late, ...beyond, ...ahead]
  const ids = new Map(once.map((sample, n) => [sample, `${sent.entries + n}`]))
  sent.entries += once.length + twice.length
  return [...once, ...twice].map((sample) => [SampleTaken, sample, { eventId: ids.get(sample) as string }])
}

/** Where every entry went, by what the minutes hold. */
function accountOf(
  sent: Sent,
  done: { readonly duplicates: number; readonly deadLettered: number },
  refused: Readonly<Record<string, string>>,
  [, counted = 0]: readonly number[],
): Equation {
  return {
    left: [['published', sent.entries]],
    right: [
      ['counted', counted],
      ['duplicates', done.duplicates],
      ['late', Number(refused.late ?? 0)],
      ['beyond the cap', Number(refused.series ?? 0)],
      ['dead letters', done.deadLettered],
    ],
  }
}
