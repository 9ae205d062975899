import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Consumer, Report } from 'millrace'
import { createActivityPublisher, paced } from '../functions/activity/load.ts'
import { type Simulated, simulateActivity } from '../functions/activity/simulation.ts'
import { STREAMS } from '../functions/events/activity.ts'
import { countEquations, countsOf, readCounts } from './activity/account.ts'
import type { Equation } from './equation.ts'
import { Observer } from './orders/observer.ts'
import { paint } from './paint.ts'
import { startSchedule } from './schedule.ts'
import type { DemoStage, SystemDemo } from './system-demo.ts'

const RATE = 200
const USERS = 100
const POLL_EVERY_MS = 250
const CLAIM_EVERY_MS = 1_000
const REFRESH_MS = 200
const DRAIN_LIMIT_MS = 25_000

/** What other producers get wrong, ten times a second: an entry without a type, and an amount that is none. */
const WRONG = [
  [STREAMS.actions, ['user_id', 'u-1', 'action', 'view']],
  [STREAMS.orders, ['event_type', 'order_placed', 'order_id', 'o-1', 'user_id', 'u-1', 'amount', 'much']],
] as const

const SUMMED = [
  'read',
  'claimed',
  'acked',
  'duplicates',
  'ignored',
  'parked',
  'retried',
  'deadLettered',
] as const satisfies readonly (keyof Report)[]

/** What was published, and what the functions reported of it. */
class Tally {
  readonly published: Simulated[] = []
  wrong = 0
  readonly reported = Object.fromEntries(SUMMED.map((name) => [name, 0])) as Record<(typeof SUMMED)[number], number>
  readonly failures: Error[] = []

  readonly add = (result: Report | Error): void => {
    if (result instanceof Error) this.failures.push(result)
    else for (const name of SUMMED) this.reported[name] += result[name]
  }

  get ofUnknownType(): number {
    return this.published.filter(({ event }) => event.type === 'search').length
  }
}

export const demo: SystemDemo = {
  async run(stage) {
    const { redis } = await import('../functions/shared/redis.ts')
    const { handler: poller } = await import('../functions/activity/poller.ts')
    const { handler: claimer } = await import('../functions/activity/claimer.ts')
    const { analytics, fulfilment, monitoring } = await import('../functions/activity/consumers.ts')
    const consumers = [analytics, fulfilment, monitoring]
    const raw = new Redis(stage.url)
    const observer = await Observer.connect(stage.url)
    const tally = new Tally()
    const schedule = startSchedule([
      { functionName: 'activityPoller', everyMs: POLL_EVERY_MS, handler: poller, onEnd: tally.add },
      { functionName: 'activityClaimer', everyMs: CLAIM_EVERY_MS, handler: claimer, onEnd: tally.add },
    ])
    const publish = createActivityPublisher(redis)
    const load = paced(
      simulateActivity({ seed: stage.seed, run: 'demo', users: USERS }),
      { rate: RATE, ...stage },
      async (events) => {
        await publish(events)
        tally.published.push(...events)
        for (const [stream, fields] of WRONG) await observer.append(stream, fields)
        tally.wrong += WRONG.length
      },
    )
    try {
      await watch(stage, load, async () => {
        stage.show(linesOf(tally, await readCounts(raw)))
        return isDrained(observer, consumers)
      })
      await schedule.stop()
      const letters = await Promise.all(consumers.map(({ keys }) => observer.length(keys.deadLetters)))
      return [
        ...countEquations(await readCounts(raw), countsOf(tally.published)),
        isEqual('ignored, of a type that nobody handles', tally.reported.ignored, tally.ofUnknownType),
        isEqual(
          'dead letters',
          letters.reduce((sum, length) => sum + length),
          tally.wrong,
        ),
        isEqual('failed invocations', tally.failures.length, 0),
      ]
    } finally {
      await schedule.stop()
      observer.close()
      raw.disconnect()
      await redis.close()
    }
  },
}

/** Shows how it goes until all is published and nothing is left to do, or for half a minute more. */
async function watch({ signal }: DemoStage, load: Promise<void>, show: () => Promise<boolean>): Promise<void> {
  let endsAt = Infinity
  const loading = load.finally(() => {
    endsAt = performance.now() + DRAIN_LIMIT_MS
  })
  loading.catch(() => {}) // it is thrown below
  for (;;) {
    const isPublished = endsAt < Infinity
    const isDrained = await show()
    if (signal.aborted || (isPublished && (isDrained || performance.now() > endsAt))) break
    await sleep(REFRESH_MS)
  }
  await loading
  signal.throwIfAborted()
}

async function isDrained(observer: Observer, consumers: readonly Consumer[]): Promise<boolean> {
  const gauges = await Promise.all(consumers.map((consumer) => observer.gauges(consumer)))
  return gauges.every(({ backlog, pending }) => backlog === 0 && pending === 0)
}

function linesOf({ published, wrong, reported }: Tally, counts: Readonly<Record<string, number>>): string[] {
  const row = (title: string, cells: readonly (readonly [string, number])[]) =>
    `${paint('bold', title.padEnd(10))}${cells.map(([name, value]) => `${paint('dim', name)} ${value}`).join('  ')}`
  const of = (kind: string) =>
    Object.entries(counts).flatMap(([name, value]) =>
      name.startsWith(`${kind} `) ? [[name.slice(kind.length + 1), value] as const] : [],
    )
  return [
    row('published', [
      ['events', published.length],
      ['mistakes', wrong],
    ]),
    row('reported', Object.entries(reported)),
    row('actions', of('actions')),
    row('orders', of('orders')),
    row('alarms', of('alarms')),
  ]
}

function isEqual(name: string, value: number, meant: number): Equation {
  return { left: [[name, value]], right: [['meant', meant]] }
}
