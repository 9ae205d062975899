import type { Connection, ConsumerOptions } from 'millrace'
import { createPublisher, NonRetryableError, poll } from 'millrace'
import { diagnose, dropDeadLetters, inspectStreams, redriveDeadLetters } from 'millrace/operate'
import { connectMemory } from 'millrace/testing'
import { connectUpstash } from 'millrace/upstash'
import { describe, expect, it, onTestFinished } from 'vitest'
import { claimOnce } from '../support/claim-once.ts'
import { startRestServer } from '../support/rest-server.ts'
import { billing, DLQ, names, OrderPaid, type Scenario, startScenario } from '../support/scenario.ts'

/** A consumer whose every entry becomes a dead letter. */
const hopeless = (deadLetters?: ConsumerOptions['deadLetters']) =>
  billing(() => Promise.reject(new NonRetryableError('gone')), deadLetters && { deadLetters })

/** How many entries a consumer without a handler that helps makes dead letters of, and what its report says was trimmed. */
async function bury(redis: Connection, orders: number, consumer = hopeless({ maxLength: 5 })) {
  const publisher = createPublisher({ stream: 'orders', redis })
  await publisher.publishMany(names('o-', orders).map((orderId) => [OrderPaid, { orderId }] as const))
  const { deadLettered, deadLettersTrimmed } = await poll(consumer, { redis })
  return { deadLettered, deadLettersTrimmed }
}

async function shown({ redis }: Scenario) {
  const { streams } = await inspectStreams({ redis, streams: ['orders'] })
  const { length, trimmed } = streams[0]?.groups[0]?.deadLetters ?? {}
  return { length, trimmed }
}

async function found({ redis }: Scenario, consumer = hopeless({ maxLength: 5 })) {
  const findings = (await diagnose(consumer, { redis })).filter(({ check }) => check === 'dead-letters')
  return findings.map(({ severity, message }) => `${severity}: ${message.replace(/, the oldest .*/, '')}`)
}

const OVER: Readonly<Record<string, () => Promise<Connection>>> = {
  TCP: async () => (await startScenario()).redis,
  REST: async () => {
    const { server } = await startScenario()
    const rest = await startRestServer({ redisUrl: server.url, token: 'secret' })
    onTestFinished(() => rest.close())
    return connectUpstash({ url: rest.url, token: 'secret' })
  },
  memory: async () => connectMemory(),
}

describe('promise 3: letters that a bounded dead-letter stream trimmed', () => {
  it.each(Object.keys(OVER))('are counted by each report: over %s', async (how) => {
    const redis = (await OVER[how]?.()) as Connection

    expect([await bury(redis, 4), await bury(redis, 4), await bury(redis, 2)]).toEqual([
      { deadLettered: 4, deadLettersTrimmed: 0 },
      { deadLettered: 4, deadLettersTrimmed: 3 },
      { deadLettered: 2, deadLettersTrimmed: 2 },
    ])
  })

  it('are counted by report, status and doctor, and what was redriven or dropped is not', async () => {
    const scenario = await startScenario()
    const { redis, raw } = scenario
    await bury(redis, 3)
    const before = [await shown(scenario), await found(scenario)]
    await bury(redis, 4)
    const [oldest = '', second = ''] = (await raw.xrange(DLQ, '-', '+')).map(([id]) => id)
    const source = { stream: 'orders', group: 'billing' }
    const full = [await shown(scenario), await found(scenario)]
    await redriveDeadLetters(source, { redis, ids: [oldest] })
    await dropDeadLetters(source, { redis, ids: [second] })

    expect(before).toEqual([{ length: 3, trimmed: 0 }, ['warning: 3 dead letters in "{orders}:billing:dlq"']])
    expect(full).toEqual([
      { length: 5, trimmed: 2 },
      [
        'warning: 5 dead letters in "{orders}:billing:dlq"',
        'warning: The dead-letter stream holds 5 of deadLetters.maxLength 5: above it the oldest letters are removed',
        'warning: 2 dead letters were trimmed from the dead-letter stream so far, by its maxLength: nobody can redrive them',
      ],
    ])
    expect([await shown(scenario), await found(scenario)]).toEqual([
      { length: 3, trimmed: 2 },
      [
        'warning: 3 dead letters in "{orders}:billing:dlq"',
        'info: 2 dead letters were trimmed from the dead-letter stream so far, by its maxLength: nobody can redrive them',
      ],
    ])
  })

  it('stay counted where the state holds something else, and the letters of others go with ours', async () => {
    const scenario = await startScenario()
    await bury(scenario.redis, 1)
    await scenario.raw.hset('{orders}:billing:state', 'lettersTrimmed', 'many')
    await bury(scenario.redis, 6)

    expect(await shown(scenario)).toEqual({ length: 5, trimmed: 2 })
  })

  it('go above 100,000 unless somebody says otherwise', async () => {
    const scenario = await startScenario()
    await fill(scenario, 99_999)

    expect(await bury(scenario.redis, 3, hopeless())).toEqual({ deadLettered: 3, deadLettersTrimmed: 2 })
    expect(await shown(scenario)).toEqual({ length: 100_000, trimmed: 2 })
    const unbounded = hopeless({ maxLength: Infinity })
    expect(await bury(scenario.redis, 3, unbounded)).toEqual({ deadLettered: 3, deadLettersTrimmed: 0 })
    expect(await shown(scenario)).toEqual({ length: 100_003, trimmed: 2 })
  })

  it('go in steps from a stream that had no bound, all of them counted', async () => {
    const scenario = await startScenario()
    await fill(scenario, 25_000)
    const reports = []
    for (let n = 0; n < 4; n++) reports.push(await bury(scenario.redis, 1))
    const trimmed = reports.map(({ deadLettersTrimmed }) => deadLettersTrimmed)

    expect(Math.max(...trimmed)).toBeLessThanOrEqual(10_000)
    expect(await shown(scenario)).toEqual({ length: 5, trimmed: 24_999 })
    expect(trimmed.reduce((sum, one) => sum + one)).toBe(24_999)
  })

  it('announce themselves: a claim says how full the stream is, in percent, unless all are kept', async () => {
    const { redis } = await startScenario()
    const bounded = hopeless({ maxLength: 8 })
    await bury(redis, 7, bounded)
    const percent = async (consumer: typeof bounded) =>
      (await claimOnce(consumer, { redis })).consumers[0]?.backlog?.deadLettersPercent

    expect([await percent(bounded), await percent(hopeless({ maxLength: Infinity }))]).toEqual([87.5, undefined])
  })
})

/** Puts so many letters into the dead-letter stream. */
async function fill({ raw }: Scenario, letters: number): Promise<void> {
  await raw.eval("for i = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', 'reason', 'crashed') end", 1, DLQ, letters)
}
