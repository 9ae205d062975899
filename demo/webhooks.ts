import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Equation } from './equation.ts'
import { paint, seconds } from './paint.ts'
import { createRandom } from './random.ts'
import { startSchedule } from './schedule.ts'
import type { DemoStage, SystemDemo } from './system-demo.ts'
import type { Fate, Merchants, Received } from './webhooks/merchants.ts'
import { SECRET, startMerchants } from './webhooks/merchants.ts'

const TICK_MS = 250
const TIMEOUT_MS = 1_500
const DRAIN_LIMIT_MS = 60_000

/** What each merchant's endpoint does; a number of 0 to 9 that each event has says when. */
const MERCHANTS: Readonly<Record<string, (received: Received, chance: number) => Fate | Promise<Fate>>> = {
  anna: () => 200,
  bert: () => 204,
  flaky: ({ attempt }, chance) => (chance < 4 && attempt === 1 ? 503 : 200),
  busy: ({ attempt }, chance) => (chance < 2 && attempt === 1 ? { status: 429, headers: { 'retry-after': '2' } } : 202),
  forgetful: ({ attempt }, chance) => (chance < 3 && attempt === 1 ? 'drop' : 200),
  slow: ({ attempt }, chance) => (chance < 2 && attempt === 1 ? 'hang' : sleep(700, 200)),
  strict: (_received, chance) => (chance < 5 ? 400 : 200),
  moved: () => ({ status: 301, headers: { location: 'http://127.0.0.1:1/' } }),
  gone: () => 410,
}
const NAMES = Object.keys(MERCHANTS)

/** Merchants whose endpoints fail, are slow, drop answers, refuse and disappear; each event is published twice to some. */
export const demo: SystemDemo = {
  async run(stage) {
    const random = createRandom(stage.seed)
    const merchants = await startMerchants((received) => {
      const fateOf = MERCHANTS[received.merchantId]
      return fateOf?.(received, Number(received.data.cents) % 10) ?? 404
    })
    process.env.WEBHOOKS_ALLOWED = '127.0.0.1'
    process.env.WEBHOOKS_TIMEOUT_MS = String(TIMEOUT_MS)
    const raw = new Redis(stage.url)
    const [poller, claimer, { redis }, { saveEndpoint }, { announce }] = await Promise.all([
      import('../functions/webhooks/poller.ts'),
      import('../functions/webhooks/claimer.ts'),
      import('../functions/shared/redis.ts'),
      import('../functions/webhooks/table.ts'),
      import('../functions/webhooks/publisher.ts'),
    ])
    for (const name of NAMES) await saveEndpoint(name, merchants.urlOf(name), SECRET)
    const failures: Error[] = []
    const onEnd = (end: unknown) => void (end instanceof Error && failures.push(end))
    const schedule = startSchedule([
      { functionName: 'webhooksPoller', everyMs: 6_000, timeoutMs: 15_000, handler: poller.handler, onEnd },
      { functionName: 'webhooksClaimer', everyMs: 6_000, timeoutMs: 15_000, handler: claimer.handler, onEnd },
    ])
    try {
      const published = await play(stage, raw, merchants, async (count) => {
        const merchantId = random.pick(NAMES)
        const data = { cents: random.integer(1, 10_000) }
        const times = random.integer(0, 3) === 0 ? 2 : 1
        for (let time = 0; time < times; time++) await announce(merchantId, 'order.paid', data, `e-${count}`)
        return merchantId
      })
      await schedule.stop()
      return await equationsOf(published, raw, merchants, failures.length)
    } finally {
      await schedule.stop()
      raw.disconnect()
      await redis.close()
      await merchants.close()
    }
  },
}

/** Publishes some events per tick, and shows what became of them, until all are settled. @returns Whom each was for. */
async function play(
  stage: DemoStage,
  raw: Redis,
  merchants: Merchants,
  publish: (count: number) => Promise<string>,
): Promise<readonly string[]> {
  const startedAt = performance.now()
  const published: string[] = []
  for (
    let elapsedMs = 0;
    elapsedMs < stage.seconds * 1_000 + DRAIN_LIMIT_MS;
    elapsedMs = performance.now() - startedAt
  ) {
    const isPublishing = elapsedMs < stage.seconds * 1_000
    if (isPublishing) for (let n = 0; n < 10; n++) published.push(await publish(published.length))
    const { answers, latency } = await countsOf(raw)
    const undone = await countUndone(raw)
    const width = Math.max(...NAMES.map((name) => name.length))
    stage.show([
      `${seconds(elapsedMs).padStart(7)}  ${isPublishing ? 'publishing' : 'ending'}  ${published.length} events, ${undone} undone, ${await raw.xlen('{webhooks}:delivery:dlq')} dead letters`,
      ...NAMES.map((name) => {
        const all = [...(answers.get(name) ?? [])].map(([answer, count]) => `${answer} ${paint('bold', String(count))}`)
        return `${name.padStart(width + 2)}  ${all.join('  ') || '-'}${latency.has(name) ? `  within ${latency.get(name)} ms` : ''}`
      }),
    ])
    if (!isPublishing && undone === 0 && merchants.received.length > 0) break
    await sleep(TICK_MS, undefined, { signal: stage.signal })
  }
  return published
}

/** What is not settled: pending, and not read yet. */
async function countUndone(raw: Redis): Promise<number> {
  const groups = (await raw.xinfo('GROUPS', 'webhooks').catch(() => [])) as unknown[][]
  const flat = groups[0]
  if (!flat) return raw.xlen('webhooks').then((length) => length + 1)
  const field = (name: string) => flat[flat.indexOf(name) + 1]
  const unread = await raw.xrange('webhooks', `(${field('last-delivered-id')}`, '+')
  return Number(field('pending')) + unread.length
}

/** By merchant: how often its endpoint gave each answer, and within how many milliseconds most events were delivered. */
async function countsOf(raw: Redis) {
  const answers = new Map<string, Map<string, number>>()
  const latency = new Map<string, number>()
  for (const key of (await raw.keys('{webhooks}:stats:*')).sort()) {
    const name = key.split(':')[2] as string
    const fields = Object.entries(await raw.hgetall(key)).map(
      ([field, value]) => [field.split(':'), Number(value)] as const,
    )
    const known = answers.get(name) ?? new Map<string, number>()
    for (const [[kind, what = ''], value] of fields) {
      if (kind === 'answer') known.set(what, (known.get(what) ?? 0) + value)
      else latency.set(name, Math.max(latency.get(name) ?? 0, Number(what)))
    }
    answers.set(name, known)
  }
  return { answers, latency }
}

async function equationsOf(
  published: readonly string[],
  raw: Redis,
  merchants: Merchants,
  failed: number,
): Promise<Equation[]> {
  const { answers } = await countsOf(raw)
  const counted = (isMeant: (answer: string) => boolean) =>
    [...answers.values()]
      .flatMap((one) => [...one])
      .reduce((sum, [answer, count]) => sum + (isMeant(answer) ? count : 0), 0)
  const delivered = counted((answer) => answer.startsWith('2'))
  const disabled = counted((answer) => answer === '410' || answer === 'disabled')
  const letters = await raw.xrange('{webhooks}:delivery:dlq', '-', '+')
  const idOf = (fields: readonly string[]) => fields[fields.indexOf('eventId') + 1]
  const dead = new Set(letters.map(([, fields]) => idOf(fields)))
  const done = [...merchants.done.values()].reduce((sum, { length }) => sum + length, 0)
  const repeats = merchants.received.filter(({ attempt }) => attempt > 1).length
  const repeatable = counted((answer) => ['503', '429', 'timeout', 'unreachable'].includes(answer))
  const refusedTwice = merchants.received.filter(({ attempt, eventId }) => attempt > 1 && dead.has(eventId)).length
  return [
    {
      left: [['events', published.length]],
      right: [
        ['delivered', delivered],
        ['dead letters', dead.size],
        ['of a disabled endpoint', disabled],
      ],
    },
    { left: [['delivered', delivered]], right: [['done by merchants', done]] },
    {
      left: [['requests that were repeated', repeats]],
      right: [
        ['after an answer that asks for it', repeatable],
        ['of what was published twice and refused', refusedTwice],
      ],
    },
    { left: [['requests with a wrong signature', merchants.forged.length]], right: [['', 0]] },
    { left: [['failed invocations', failed]], right: [['', 0]] },
  ]
}
