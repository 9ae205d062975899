import type { Redis } from 'ioredis'
import { createPublisher, defineConsumer, defineEvent, on, promoteDelays } from 'millrace'
import { diagnose, inspectStreams } from 'millrace/operate'
import { describe, expect, it, test } from 'vitest'
import * as z from 'zod/mini'
import { millrace } from '../cli/millrace.ts'
import { changeBody, pagedEvents } from '../support/delayed-pages.ts'
import { DELAYED, passDelays } from '../support/delays.ts'
import { type Scenario, startScenario } from '../support/scenario.ts'

const Reminder = defineEvent('Reminder', { payload: z.object({ orderId: z.string() }) })
const HOUR = 3_600_000
const NEXT = `${DELAYED}:next`

const later = ({ redis }: Scenario, ...ids: string[]) =>
  createPublisher({ stream: 'orders', redis }).publishMany(
    ids.map((eventId, n) => [Reminder, { orderId: eventId }, { eventId, delayMs: (n + 1) * HOUR }] as const),
  )

async function delaysOf({ redis }: Scenario) {
  const { streams } = await inspectStreams({ redis, streams: ['orders'] })
  return streams[0]
}

/** Findings of the doctor about what is delayed. */
async function findings({ redis }: Scenario, options: object = { streams: ['orders'] }) {
  const found = await diagnose([], { redis, ...options })
  return found.filter(({ check }) => /delay|overdue/.test(check))
}

/** Makes a record unreadable, and has it set aside. */
async function spoil(scenario: Scenario, raw: Redis, eventId: string): Promise<void> {
  await changeBody(raw, eventId, () => Buffer.from('x'))
  await passDelays(raw, HOUR)
  await promoteDelays().promote({ redis: scenario.redis, stream: 'orders' })
}

describe('inspectStreams()', () => {
  it('counts what is delayed and says when the first is due, without a stream as well', async () => {
    const scenario = await startScenario()
    await later(scenario, 'a', 'b')

    const { state, delays } = (await delaysOf(scenario)) ?? {}

    expect([state, delays]).toEqual(['missing', { events: 2, unreadable: 0, nextDueInMs: expect.any(Number) }])
    expect(Math.abs((delays?.nextDueInMs ?? 0) - HOUR)).toBeLessThan(1_000)
  })

  it('counts what cannot be read by itself', async () => {
    const scenario = await startScenario()
    await later(scenario, 'a', 'b')
    await spoil(scenario, scenario.raw, 'a')

    expect((await delaysOf(scenario))?.delays).toMatchObject({ events: 1, unreadable: 1 })
  })

  it('leaves delays out where nothing is delayed, and says why where it is unknown', async () => {
    const scenario = await startScenario()
    await scenario.publish('o')
    const without = await delaysOf(scenario)
    await scenario.raw.set(DELAYED, 'x')
    const wrong = await delaysOf(scenario)

    expect([without?.delays, without?.unknown.delays]).toEqual([undefined, undefined])
    expect([wrong?.delays, wrong?.unknown.delays]).toEqual([undefined, expect.stringMatching(/^WRONGTYPE/)])
  })
})

test('millrace status shows what is delayed, overdue and unreadable', async () => {
  const scenario = await startScenario()
  await later(scenario, 'a', 'b')
  const status = async () => {
    const run = millrace(['status', '--redis', scenario.server.url, '--stream', 'orders'])
    await run.exit
    return run.text
  }
  const before = await status()
  await spoil(scenario, scenario.raw, 'a')
  await passDelays(scenario.raw, 2 * HOUR)

  expect(before).toMatch(/delayed {2}2, the next in 59m 5\ds/)
  expect(await status()).toMatch(/delayed {2}1, overdue for 1h/)
  expect(await status()).toContain('! 1 delayed event cannot be read')
})

describe('diagnose()', () => {
  it('finds nothing where delays wait, and none where nothing is delayed', async () => {
    const scenario = await startScenario()
    const none = await findings(scenario)
    await later(scenario, 'a')

    expect([none, await findings(scenario)]).toEqual([[], []])
  })

  it('finds what is overdue: nobody promotes', async () => {
    const scenario = await startScenario()
    await later(scenario, 'a')
    await passDelays(scenario.raw, 2 * HOUR)

    expect(await findings(scenario)).toMatchObject([
      {
        check: 'overdue',
        severity: 'error',
        stream: 'orders',
        message: '1 event is delayed, and the first has been due for 1 h: nobody promotes them',
        fix: expect.stringContaining('delays: promoteDelays()'),
      },
    ])
  })

  it('finds a flag that is gone, and its fix has the next run look', async () => {
    const scenario = await startScenario()
    await later(scenario, 'a')
    await passDelays(scenario.raw, 2 * HOUR)
    await scenario.raw.del(NEXT)

    const [finding] = await findings(scenario)

    expect(finding).toMatchObject({
      check: 'overdue',
      message: expect.stringContaining(`no run looks, since ${NEXT} is gone`),
    })
    const [, key = '', value = ''] = /^SET '(.*)' (\d+): /.exec(finding?.fix ?? '') ?? []
    await scenario.raw.set(key, value)
    await promoteDelays().promote({ redis: scenario.redis, stream: 'orders' })
    expect([key, await findings(scenario), await scenario.raw.exists(NEXT)]).toEqual([NEXT, [], 0])
  })

  it('finds records that cannot be read, and its fix has the next run read them again', async () => {
    const scenario = await startScenario()
    const { raw, redis } = scenario
    await later(scenario, 'a')
    const [event] = await pagedEvents(raw)
    await spoil(scenario, raw, 'a')

    const [finding] = await findings(scenario)

    expect(finding).toMatchObject({
      check: 'unreadable-delays',
      severity: 'error',
      message: expect.stringContaining('1 delayed event'),
    })
    await changeBody(raw, 'a', () => event?.body as Buffer)
    const [, script = ''] = /EVAL "(.*)" 2 /.exec(finding?.fix ?? '') ?? []
    await raw.eval(script, 2, DELAYED, NEXT)
    expect(await raw.get(NEXT)).toBe('0')
    expect(await promoteDelays().promote({ redis, stream: 'orders' })).toMatchObject({ promoted: 1, unreadable: 0 })
  })

  it.each([DELAYED, NEXT, `${DELAYED}:events`, `${DELAYED}:ended:0`, `${DELAYED}:ended:1`])(
    'finds that %s holds something else',
    async (key) => {
      const scenario = await startScenario()
      await scenario.raw.sadd(key, 'x')

      expect(await findings(scenario)).toMatchObject([
        {
          check: 'delay-keys',
          severity: 'error',
          message: expect.stringContaining(`"${key}" holds something else`),
          fix: `RENAME '${key}' to another name`,
        },
      ])
    },
  )

  it('finds keys that belong to a stream of almost the same name', async () => {
    const scenario = await startScenario()
    await later(scenario, 'a')

    expect(await findings(scenario, { streams: ['{orders}'] })).toMatchObject([
      { check: 'delay-keys', message: expect.stringContaining('belong to stream "orders"') },
    ])
  })

  it('says nothing of delays that nobody uses, where it may not look', async () => {
    const { server, raw, connect } = await startScenario()
    await raw.call('ACL', 'SETUSER', 'd', 'on', '>p', '~orders', '~{orders}:billing:*', '+@all')
    const redis = connect(server.url.replace('redis://', 'redis://d:p@'))
    const consumer = defineConsumer({ stream: 'orders', group: 'billing', routes: [on(Reminder, () => {})] })

    const found = await diagnose(consumer, { redis })

    expect(found.filter(({ check }) => /delay|overdue/.test(check))).toEqual([])
  })
})
