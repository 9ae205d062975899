import { setTimeout as sleep } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import { Redis } from 'ioredis'
import type { Report } from 'millrace'
import type { Alert } from '../functions/analytics/detector.ts'
import { drawDashboard, type Shown } from './analytics/draw.ts'
import { computeOffline } from './analytics/offline.ts'
import { type Sent, trafficOf } from './analytics/traffic.ts'
import type { Equation } from './equation.ts'
import { createRandom, type Random } from './random.ts'
import { startSchedule } from './schedule.ts'
import type { DemoStage, SystemDemo } from './system-demo.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
const STREAM = 'user-actions'
const GROUP = 'dashboard'

/** Hours of which all is sent at once, and minutes that pass while one looks on. */
const BEFORE_MS = 140 * MINUTE_MS
const SHOWN_MS = 100 * MINUTE_MS
const EVENTS_PER_MINUTE = 40
/** More of a crowd than the shop is used to. */
const CROWD = { beforeEndMs: 50 * MINUTE_MS, forMs: 10 * MINUTE_MS, eventsPerMinute: 160 }
const FRAME_MS = 250
/** An event that was sent twice may wait half a minute for its other sending. */
const DRAIN_LIMIT_MS = 35_000

/** A shop's last hundred minutes in so many seconds, drawn from what the function `read` answers. */
export const demo: SystemDemo = {
  async run(stage) {
    const { redis } = await import('../functions/shared/redis.ts')
    const { handler: poller } = await import('../functions/analytics/poller.ts')
    const { handler: claimer } = await import('../functions/analytics/claimer.ts')
    const raw = new Redis(stage.url)
    const failures: Error[] = []
    const onEnd = (result: Report | Error) => void (result instanceof Error && failures.push(result))
    const schedule = startSchedule([
      { functionName: 'analyticsPoller', everyMs: 200, handler: poller, onEnd },
      { functionName: 'analyticsClaimer', everyMs: 500, handler: claimer, onEnd },
    ])
    try {
      const equations = await play(stage, raw)
      return [...equations, { left: [['invocations that failed', failures.length]], right: [['', 0]] }]
    } finally {
      await schedule.stop()
      raw.disconnect()
      await redis.close()
    }
  },
}

async function play(stage: DemoStage, raw: Redis): Promise<readonly Equation[]> {
  const { seconds, seed, signal } = stage
  const endMs = minuteOf(Date.now())
  const startMs = endMs - SHOWN_MS
  const sent = trafficUntil(createRandom(seed), endMs)
  await keepPast(raw, createRandom(seed + 1), sent, endMs)
  const alerts: Alert[] = []
  const startedAt = performance.now()
  let [now, at] = [startMs, 0]
  while (now < endMs) {
    signal.throwIfAborted()
    now = Math.min(endMs, startMs + ((performance.now() - startedAt) / (seconds * 1_000)) * SHOWN_MS)
    const end = sent.findIndex(({ sentAt }, n) => n >= at && sentAt >= now)
    await send(raw, sent.slice(at, end < 0 ? sent.length : end), at)
    at = end < 0 ? sent.length : end
    await watch(alerts, now)
    stage.show(drawDashboard(await read(minuteOf(now) - HOUR_MS, minuteOf(now)), alerts, now))
    await sleep(FRAME_MS)
  }
  const giveUpAt = performance.now() + DRAIN_LIMIT_MS
  while (!(await isDrained(raw)) && performance.now() < giveUpAt) {
    signal.throwIfAborted()
    await sleep(FRAME_MS)
  }
  await watch(alerts, endMs)
  stage.show(drawDashboard(await read(endMs - HOUR_MS, endMs), alerts, endMs))
  return conclude(sent, await read(startMs, endMs), alerts, { fromMs: startMs, toMs: endMs })
}

const minuteOf = (ms: number) => Math.floor(ms / MINUTE_MS) * MINUTE_MS

function trafficUntil(random: Random, endMs: number): Sent[] {
  const fromMs = endMs - SHOWN_MS - BEFORE_MS
  const crowdAt = endMs - CROWD.beforeEndMs
  const crowd = {
    fromMs: crowdAt,
    toMs: crowdAt + CROWD.forMs,
    events: (CROWD.eventsPerMinute * CROWD.forMs) / MINUTE_MS,
  }
  const usual = { fromMs, toMs: endMs, events: (EVENTS_PER_MINUTE * (endMs - fromMs)) / MINUTE_MS }
  return [...trafficOf(random, usual), ...trafficOf(random, { ...crowd, prefix: 'crowd-' })]
    .filter(({ sentAt }) => sentAt < endMs)
    .sort((a, b) => a.sentAt - b.sentAt)
}

/** The same hours of three days before, as usual: what the detector compares with. */
async function keepPast(raw: Redis, random: Random, sent: readonly Sent[], endMs: number): Promise<void> {
  const { keys, sumField } = await import('../functions/analytics/windows.ts')
  const minutes = (SHOWN_MS + BEFORE_MS) / MINUTE_MS
  const perMinute = (type: string) =>
    sent.filter(({ fields }) => fields.event_type === type && !fields.event_id?.startsWith('crowd')).length / minutes
  const usual = { views: perMinute('page_view'), purchases: perMinute('purchase') }
  const pipeline = raw.pipeline()
  // nothing to compare with where the traffic begins: it would be a drop before it does
  const firstHour = Math.ceil((endMs - SHOWN_MS - BEFORE_MS) / HOUR_MS) * HOUR_MS
  for (let ms = firstHour; ms < endMs + HOUR_MS; ms += MINUTE_MS)
    for (const day of [1, 2, 3]) {
      const at = ms - day * DAY_MS
      const about = (count: number) =>
        Math.floor(count * (0.7 + random.integer(0, 600) / 1_000) + random.integer(0, 1_000) / 1_000)
      const [views, purchases] = [about(usual.views), about(usual.purchases)]
      const sums = { views, purchases, cents: purchases * random.integer(9_000, 11_000) }
      for (const [measure, value] of Object.entries(sums))
        pipeline.hset(keys.sums(at), sumField(measure as keyof typeof sums, at), value)
    }
  // what was before is no news
  await pipeline.set(keys.checked, endMs - SHOWN_MS).exec()
}

/** Adds entries as of the time at which they were sent: an hour and a half passes in seconds. */
async function send(raw: Redis, sent: readonly Sent[], first: number): Promise<void> {
  const pipeline = raw.pipeline()
  for (const [n, { sentAt, fields }] of sent.entries())
    pipeline.xadd(STREAM, `${sentAt}-${first + n}`, ...Object.entries(fields).flat())
  await pipeline.exec()
}

/** Wakes the detector at a time that is not the clock's, and without a topic. */
async function watch(alerts: Alert[], now: number): Promise<void> {
  const { createAsk } = await import('../functions/shared/ask.ts')
  const { redis } = await import('../functions/shared/redis.ts')
  const { dashboard } = await import('../functions/analytics/consumer.ts')
  const { detect } = await import('../functions/analytics/detector.ts')
  await detect(createAsk(redis, dashboard), async (alert) => void alerts.push(alert), now)
}

async function read(fromMs: number, toMs: number): Promise<Shown> {
  const { handler } = await import('../functions/analytics/read.ts')
  const query = { from: new Date(fromMs).toISOString(), to: new Date(toMs).toISOString(), top: '5', sliding: '5' }
  const { statusCode, body } = await handler({ queryStringParameters: query })
  if (statusCode !== 200) throw new Error(body)
  return JSON.parse(body)
}

/** What is read first, and then what is pending: the other way round a batch may be read in between. */
async function isDrained(raw: Redis): Promise<boolean> {
  const groups = (await raw.xinfo('GROUPS', STREAM)) as (string | number)[][]
  const own = groups.find((group) => group[1] === GROUP) ?? []
  const [[last] = []] = await raw.xrevrange(STREAM, '+', '-', 'COUNT', 1)
  const [pending] = (await raw.xpending(STREAM, GROUP)) as [number]
  return pending === 0 && own[own.indexOf('last-delivered-id') + 1] === last
}

function conclude(
  sent: readonly Sent[],
  { active, anomalies, hours, ...shown }: Shown,
  alerts: readonly Alert[],
  range: { readonly fromMs: number; readonly toMs: number },
): Equation[] {
  const {
    users,
    usersByHour: _,
    hours: wantedHours,
    ...wanted
  } = computeOffline(sent, { ...range, top: 5, sliding: 5 })
  const isSame = isDeepStrictEqual(
    { ...shown, hours: hours.map(({ active: _ofHour, ...hour }) => hour) },
    JSON.parse(JSON.stringify({ ...wanted, hours: wantedHours })),
  )
  const sessions = (of: readonly { readonly sessions: number }[]) => of.reduce((sum, hour) => sum + hour.sessions, 0)
  const row = (what: string, counted: number, computed: number): Equation => ({
    left: [[`${what}: read`, counted]],
    right: [['offline', computed]],
  })
  return [
    row('views', shown.totals.views, wanted.totals.views),
    row('purchases', shown.totals.purchases, wanted.totals.purchases),
    row('revenue', Number(shown.totals.revenue), Number(wanted.totals.revenue)),
    row('late', shown.totals.late, wanted.totals.late),
    row('sessions by hour', sessions(hours), sessions(wantedHours)),
    row('whole answers that differ', isSame ? 0 : 1, 0),
    row('estimates of users off by more than 3 %', Math.abs(active.users / users - 1) > 0.03 ? 1 : 0, 0),
    { left: [['crowds planted', 1]], right: [['alerts', alerts.length]] },
    row('alerts', anomalies.length, alerts.length),
  ]
}
