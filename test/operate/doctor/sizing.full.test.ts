import { defineConsumer, idempotent, on, orderedBy, poll, prioritized } from 'millrace'
import { diagnose, type Finding } from 'millrace/operate'
import { describe, expect, test } from 'vitest'
import { createAclUsers, urlOf } from '../../infra/acl-users.ts'
import { publishAgo } from '../../support/past.ts'
import { billing, DLQ, names, OrderPaid, type Scenario, startScenario } from '../../support/scenario.ts'

const HOUR_MS = 3_600_000
const SHARE = 0.9

/** A stream with so many entries, the first two hours old, and a server with so much more memory than is used now. */
async function streamOf(entries: number, spareBytes: number): Promise<Scenario> {
  const scenario = await startScenario()
  await publishAgo(scenario, 2 * HOUR_MS, ...names('o-', entries))
  await spare(scenario, spareBytes)
  return scenario
}

async function spare({ raw }: Scenario, bytes: number): Promise<void> {
  await raw.config('SET', 'maxmemory', Math.round(((await usedMemory(raw)) + bytes) / SHARE))
}

async function usedMemory(raw: Scenario['raw']): Promise<number> {
  return Number(/used_memory:(\d+)/.exec(await raw.info('memory'))?.[1])
}

async function sizing(
  { redis }: Scenario,
  consumers: Parameters<typeof diagnose>[0] = billing(() => {}),
  options = {},
) {
  return of(await diagnose(consumers, { redis, ...options }))
}

function of(found: readonly Finding[]): string[] {
  return found
    .filter(({ check }) => check === 'sizing')
    .map(({ severity, message, fix }) => `${severity}: ${message} → ${fix}`)
}

/** What one of these entries takes. */
const EACH_BYTES = 123
const ROOM_BYTES = 100_000_000

describe('sizing', () => {
  test('warns of a stream that will not fit within a week, and says what to lower', async () => {
    // 84 times as many in a week
    const scenario = await streamOf(2_000, 30 * 2_000 * EACH_BYTES)

    expect(await sizing(scenario)).toEqual([
      expect.stringMatching(
        new RegExp(
          '^warning: At the rates so far \\d+\\.\\d MB will be in use, 2\\d\\d % of maxmemory, \\d+\\.\\d MB; now \\d+\\.\\d MB are: ' +
            '1(?:69,\\d{3}|70,000) entries of "orders" \\(now 2,000\\) × 1\\d\\d bytes = (1|2)\\d\\.\\d MB → ' +
            'lower maxLength of the publishers of "orders" from 1(?:69,\\d{3}|70,000) to [4567]\\d,000, keep large payloads elsewhere \\(claimCheck\\), or take a maxmemory of \\d+ MB or more$',
        ),
      ),
    ])
  })

  test('is content with room, without maxmemory, and with a short or young stream', async () => {
    const scenario = await streamOf(2_000, 100 * 2_000 * EACH_BYTES)
    const fits = await sizing(scenario)
    await scenario.raw.config('SET', 'maxmemory', 0)
    const unbounded = await sizing(scenario)
    const short = await streamOf(99, 0)
    const young = await startScenario()
    await publishAgo(young, HOUR_MS / 2, ...names('o-', 2_000))
    await spare(young, 0)

    expect([fits, unbounded, await sizing(short), await sizing(young)]).toEqual([[], [], [], []])
  })

  test('takes a stream that is trimmed for as long as it will be', async () => {
    const scenario = await streamOf(2_000, 0)
    await scenario.raw.xtrim('orders', 'MAXLEN', 1_500)

    expect(await sizing(scenario)).toEqual([])
  })

  test('counts what registered groups need, where a janitor trims', async () => {
    const scenario = await streamOf(2_000, 1_000_000)
    await scenario.raw.xtrim('orders', 'MAXLEN', 1_500)
    await spare(scenario, 1_000_000)
    const registered = JSON.stringify({ owner: 'shop', retentionMs: 24 * HOUR_MS })
    await scenario.raw.hset('{orders}::stream::groups', 'billing', registered)
    await scenario.raw.hset('{orders}::stream::janitor', 'ranAt', Date.now())

    expect(await sizing(scenario)).toEqual([
      expect.stringMatching(
        /: 1(?:7,9|8,\d)\d\d entries of "orders" \(now 1,500\) .* → lower retentionMs of the groups of "orders" from 86,400,000 to \d\d,000,000, /,
      ),
    ])
  })

  test('counts the places of what is set aside in order', async () => {
    const scenario = await streamOf(500, ROOM_BYTES)
    const use = [orderedBy(({ type }) => type)]
    const failing = billing(() => Promise.reject(new Error('mail is down')), { use, batchSize: 10 })
    await poll(failing, { redis: scenario.redis, mode: 'once' })
    await spare(scenario, 100_000)

    const told = (await sizing(scenario, failing)).map(
      (line) => / 10 set aside of "orders" × \d+ bytes/.exec(line)?.[0],
    )
    expect(told).toEqual([' 10 set aside of "orders" × 560 bytes'])
  })

  test('counts markers, dead letters and what is set aside', async () => {
    const scenario = await streamOf(500, ROOM_BYTES)
    const use = [idempotent({ ttlMs: 48 * HOUR_MS })]
    const failing = billing(() => Promise.reject(new Error('mail is down')), { use, batchSize: 10 })
    await poll(failing, { redis: scenario.redis, mode: 'once' })
    const letters = scenario.raw.pipeline()
    for (let n = 0; n < 200; n++) letters.xadd(DLQ, `${Date.now() - 2 * HOUR_MS + n}-0`, 'reason', 'error')
    await letters.exec()
    await spare(scenario, 100_000)
    const [told = ''] = await sizing(
      scenario,
      billing(() => {}, { use, deadLetters: { maxLength: 5_000 } }),
    )

    expect(told).toMatch(/ 42,\d{3} entries of "orders" \(now 500\)/)
    expect(told).toMatch(/, 10 set aside of "orders" × 268 bytes = 2\.6 KB/)
    expect(told).toMatch(/, 1[12],\d{3} markers of events of "orders" \(now 500\) × 225 bytes/)
    expect(told).toMatch(/, 5,000 dead letters of "orders" \(now 200\) /)
  })

  test('adds up what is inspected: the streams of a set', async () => {
    const jobs = prioritized('orders', ['high', 'low'])
    const work = defineConsumer({ stream: jobs, group: 'billing', routes: [on(OrderPaid, () => {})] })
    const scenario = await streamOf(2_000, ROOM_BYTES)
    await scenario.raw.copy('orders', jobs.streams[0] as string)
    await scenario.raw.copy('orders', jobs.streams[1] as string)
    const grown = 83 * 2_000 * EACH_BYTES
    await spare(scenario, 1.5 * grown)

    expect(await sizing(scenario, [work])).toEqual([
      expect.stringMatching(
        /1(?:69,\d{3}|70,000) entries of "\{orders\}:high" .*, 1(?:69,\d{3}|70,000) entries of "\{orders\}:low" /,
      ),
    ])
    expect(await sizing(scenario, work[0])).toEqual([])
  })

  test('is unknown to whoever may not ask for maxmemory, or for what a stream takes', async () => {
    const scenario = await streamOf(2_000, 0)
    await createAclUsers(scenario.raw)
    const console = scenario.connect(urlOf(scenario.server, 'orders-console'))
    await scenario.raw.call('ACL', 'SETUSER', 'other', 'on', '>p', '~*', '+@all', '-memory|usage')
    const other = scenario.connect(`redis://other:p@${scenario.server.host}:${scenario.server.port}`)
    const options = { streams: ['orders'] }

    expect(of(await diagnose([], { redis: console, ...options }))).toEqual([
      expect.stringMatching(/^unknown: Not told: NOPERM .* → look with a user that has \+info$/),
    ])
    await scenario.raw.call('ACL', 'SETUSER', 'orders-console', '+info')
    expect(of(await diagnose([], { redis: console, ...options }))).toEqual([expect.stringMatching(/^warning: /)])
    expect(of(await diagnose([], { redis: other, ...options }))).toEqual([
      expect.stringMatching(/^unknown: Not told: NOPERM .* → look with a user that has \+memory\|usage$/),
    ])
  })
})
