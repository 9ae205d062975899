import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { createPublisher } from 'millrace'
import { inspectStreams } from 'millrace/operate'
import { STREAM } from '../functions/events/shop-orders.ts'
import type { Progress } from '../functions/fan-out/objectives.ts'
import { progressOf } from '../functions/fan-out/objectives.ts'
import type { Equation } from './equation.ts'
import type { Drawn } from './fan-out/draw.ts'
import { centsOf, drawOrder, takenBy } from './fan-out/draw.ts'
import type { Asked, Fate, Sinks } from './fan-out/sinks.ts'
import { startSinks } from './fan-out/sinks.ts'
import { paint } from './paint.ts'
import { createRandom } from './random.ts'
import { startSchedule } from './schedule.ts'
import type { DemoStage, SystemDemo } from './system-demo.ts'

const TICK_MS = 250
const DRAIN_LIMIT_MS = 30_000

/** Orders that six groups read, each for itself; the shop publishes each event twice, and the sinks lose answers and refuse events. */
export const demo: SystemDemo = {
  async run(stage) {
    const random = createRandom(stage.seed)
    const late = new Set<string>()
    const sinks = await startSinks({
      fateOf,
      pieceOf: (asked, eventId) => {
        if (asked === 'rows' || !/[05]$/.test(eventId) || late.has(eventId)) return 'taken'
        late.add(eventId)
        return 'later'
      },
    })
    Object.assign(process.env, sinks.environment)
    const raw = new Redis(stage.url)
    const [poller, claimer, { redis }] = await Promise.all([
      import('../functions/fan-out/poller.ts'),
      import('../functions/fan-out/claimer.ts'),
      import('../functions/shared/redis.ts'),
    ])
    const failures: Error[] = []
    const onEnd = (end: unknown) => void (end instanceof Error && failures.push(end))
    // a schedule's minute takes two seconds
    const schedule = startSchedule([
      { functionName: 'fanOutPoller', everyMs: 2_000, timeoutMs: 14_000, handler: poller.handler, onEnd },
      { functionName: 'fanOutClaimer', everyMs: 2_000, timeoutMs: 14_000, handler: claimer.handler, onEnd },
    ])
    try {
      const shop = createPublisher({ stream: STREAM, redis, producer: 'shop' })
      const look = async () => progressOf((await inspectStreams({ redis, streams: [STREAM] })).streams[0])
      const drawn: Drawn[] = []
      let orders = 0
      await play(stage, { look, sinks, drawn }, async () => {
        const some = Array.from({ length: random.integer(1, 6) }, () => drawOrder(orders++, random)).flat()
        for (const { payload } of some) await raw.set(`{shop-orders}:page:${payload.orderId}`, 'page')
        const publications = some.map(({ publication }) => publication)
        await shop.publishMany([...publications, ...publications])
        drawn.push(...some)
      })
      await schedule.stop()
      return await equationsOf({ drawn, orders, sinks, raw, progress: await look(), failed: failures.length })
    } finally {
      await schedule.stop()
      raw.disconnect()
      await redis.close()
      await sinks.close()
    }
  },
}

/** Publishes tick by tick, and shows how far each group is, until all have done everything. */
async function play(
  stage: DemoStage,
  shown: { look: () => Promise<Progress[]>; sinks: Sinks; drawn: readonly Drawn[] },
  publish: () => Promise<void>,
): Promise<void> {
  const endsAt = performance.now() + stage.seconds * 1_000
  for (;;) {
    const now = performance.now()
    if (now < endsAt) await publish()
    const progress = await shown.look()
    stage.show(linesOf(progress, shown))
    const isDone = progress.every(({ ageMs, lag }) => ageMs === 0 && lag === 0)
    if (now > endsAt + DRAIN_LIMIT_MS || (now >= endsAt && isDone)) break
    await sleep(TICK_MS, undefined, { signal: stage.signal })
  }
}

function linesOf(
  progress: readonly Progress[],
  { sinks, drawn }: { readonly sinks: Sinks; readonly drawn: readonly Drawn[] },
): string[] {
  const seconds = (ms: number) => `${(ms / 1_000).toFixed(1).padStart(5)} s`
  return [
    `${paint('bold', 'published')}  ${drawn.length} events, each twice`,
    ...progress.map(({ group, ageMs, lag, maxAgeMs, isMet }) =>
      [
        paint('bold', group.padEnd(10)),
        `waiting ${String(lag).padStart(4)}`,
        `oldest ${seconds(ageMs)}`,
        paint('dim', `of ${maxAgeMs / 1_000} s`),
        isMet ? paint('green', 'ok') : paint('red', 'BEHIND'),
      ].join('  '),
    ),
    `${paint('bold', 'sinks')}      ${sinks.rows.size} rows, ${sinks.forwarded.length} forwarded, ${sinks.objects.size} objects`,
  ]
}

async function equationsOf({
  drawn,
  orders,
  sinks,
  raw,
  progress,
  failed,
}: {
  readonly drawn: readonly Drawn[]
  readonly orders: number
  readonly sinks: Sinks
  readonly raw: Redis
  readonly progress: readonly Progress[]
  readonly failed: number
}): Promise<Equation[]> {
  const ledger = await raw.hgetall('{shop-orders}:ledger')
  const lines = new Set([...sinks.objects.values()].flat().map(({ entryId }) => entryId))
  const forwarded = new Set(sinks.forwarded.map(({ detail }) => detail.eventId))
  const equation = (name: string, value: number, meant: string, is: number): Equation => ({
    left: [[name, value]],
    right: [[meant, is]],
  })
  return [
    equation('billing: cents paid', Number(ledger.paid ?? 0), 'published', centsOf(drawn, 'OrderPaid')),
    equation('billing: cents refunded', Number(ledger.refunded ?? 0), 'published', centsOf(drawn, 'OrderRefunded')),
    equation('search: documents', (await raw.keys('{shop-orders}:document:*')).length, 'orders', orders),
    equation('cache: pages left', (await raw.keys('{shop-orders}:page:*')).length, '', 0),
    equation('warehouse: rows', sinks.rows.size, 'published', takenBy('warehouse', drawn).length),
    equation('bridge: events', forwarded.size, 'published', takenBy('bridge', drawn).length),
    equation('audit: entries', lines.size, 'in the stream', await raw.xlen(STREAM)),
    equation('groups behind', progress.filter(({ isMet }) => !isMet).length, '', 0),
    equation('failed invocations', failed, '', 0),
  ]
}

/** A refusal would hand back what is in hand, for a minute; a failed flush is tried again soon. */
function fateOf(asked: Asked, attempt: number): Fate {
  return asked === 'flush' && attempt % 4 === 2 ? 'fail' : 'yes'
}
