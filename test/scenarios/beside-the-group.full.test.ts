import type { Report } from 'millrace'
import { createPublisher, poll } from 'millrace'
import { describe, expect, it } from 'vitest'
import { claimOnce } from '../support/claim-once.ts'
import type { Scenario } from '../support/scenario.ts'
import { billing, difference, noting, OrderPaid, startScenario } from '../support/scenario.ts'

const STATE = '{orders}:billing:state'
const DUE = '{orders}:billing:due'
const WAKE = '{orders}:billing:wake'
const LAST = '18446744073709551615-18446744073709551615'
const SLOTS = ['poller-0', 'poller-1', 'poller-2', 'poller-3', 'claimer-0', 'claimer-1'].map(
  (name) => `{orders}:billing:slot:${name}`,
)

const NO_IDS = [
  'x',
  '',
  ' ',
  '$',
  '-',
  '+',
  '>',
  '*',
  '(1-1',
  '-1',
  '1-',
  '1-2-3',
  ' 1-1',
  '1-1 ',
  '1.5-0',
  '1e3',
  '99999999999999999999999',
  '18446744073709551616-0',
  '0-18446744073709551616',
  '\u0000',
  LAST,
  '9'.repeat(300),
]

interface Garbage {
  readonly what: string
  put(scenario: Scenario): Promise<unknown>
}

const GARBAGE: readonly Garbage[] = [
  ...NO_IDS.flatMap((text) => [
    { what: `cursor ${text.slice(0, 40)}`, put: ({ raw }: Scenario) => raw.hset(STATE, 'cursor', text) },
    { what: `mark ${text.slice(0, 40)}`, put: ({ raw }: Scenario) => raw.hset(STATE, 'mark', text) },
    { what: `due ${text.slice(0, 40)}`, put: ({ raw }: Scenario) => raw.zadd(DUE, Date.now() + 9e6, text) },
  ]),
  ...['x', '', 'customers', '{'].map((owner) => ({
    what: `stream ${owner}`,
    put: ({ raw }: Scenario) => raw.hset(STATE, 'stream', owner),
  })),
  ...['0000-1', '00000000000000000001-1', '5'].map((cursor) => ({
    what: `cursor ${cursor}`,
    put: ({ raw }: Scenario) => raw.hset(STATE, 'cursor', cursor, 'mark', cursor),
  })),
  ...['x', '-5', '1e300', 'nan', 'inf', '0x10', ''].map((acked) => ({
    what: `acked ${acked}`,
    put: ({ raw }: Scenario) => raw.hset(STATE, 'acked', acked),
  })),
  ...[STATE, DUE, WAKE, ...SLOTS.slice(0, 1), ...SLOTS.slice(4, 5)].flatMap((key) => [
    { what: `${key} a text`, put: ({ raw }: Scenario) => raw.multi().del(key).set(key, 'x').exec() },
    { what: `${key} a list`, put: ({ raw }: Scenario) => raw.multi().del(key).rpush(key, 'x').exec() },
    { what: `${key} a stream`, put: ({ raw }: Scenario) => raw.multi().del(key).xadd(key, '*', 'a', 'b').exec() },
  ]),
  {
    what: 'every slot a text',
    put: ({ raw }) => raw.mset(...SLOTS.flatMap((key) => [key, 'x'])),
  },
  {
    what: 'every slot a text for years',
    put: async ({ raw }) => {
      for (const key of SLOTS) await raw.set(key, 'x', 'PX', 3e11)
    },
  },
  {
    what: 'every slot a set for years',
    put: async ({ raw }) => {
      for (const key of SLOTS) await raw.multi().del(key).sadd(key, 'x').pexpire(key, 3e11).exec()
    },
  },
  {
    what: 'every slot a hash',
    put: async ({ raw }) => {
      for (const key of SLOTS) await raw.multi().del(key).hset(key, 'a', 'b').exec()
    },
  },
]

async function adding(run: Promise<Report>): Promise<Report> {
  const report = await run
  expect(difference(report)).toBe(0)
  return report
}

describe('what lies beside a group is absent where it cannot be read', () => {
  it('claimers and pollers go on, and a lost group is made again, whatever was put there', async () => {
    const scenario = await startScenario()
    const { redis, raw, connect, publish, age, pending } = scenario
    for (const { what, put } of GARBAGE) {
      await raw.flushall()
      const state = { isFailing: true }
      const { calls, handler } = noting(() => {
        if (state.isFailing) throw new Error('no')
      })
      const consumer = billing(handler, { backoff: { firstMs: 0 }, startAt: '$' })
      await poll(consumer, { redis })
      await publish('a', 'b')
      await poll(consumer, { redis })
      await claimOnce(consumer, { redis })
      await put(scenario)
      await age(90_000)
      state.isFailing = false
      calls.length = 0
      // what has lost its place in the index is found by the first, and where no index takes it comes back by its age
      const claims = [await adding(claimOnce(consumer, { redis }))]
      await age(90_000)
      for (let n = 0; n < 2; n++) claims.push(await adding(claimOnce(consumer, { redis })))
      await publish('c')
      await adding(poll(consumer, { redis }))
      const acked = claims.reduce((sum, report) => sum + report.acked, 0)
      expect([what, acked, calls.toSorted(), await pending()]).toEqual([what, 2, ['a', 'b', 'c'], []])

      await put(scenario)
      await raw.xgroup('DESTROY', 'orders', 'billing')
      await publish('d')
      // a process that never saw the group skips nothing
      await adding(claimOnce(consumer, { redis: connect() }))
      await adding(poll(consumer, { redis: connect() }))
      expect([what, calls.at(-1)]).toEqual([what, 'd'])
    }
  })

  it('a due time that is none of ours keeps no entry for ever', async () => {
    const { redis, raw, publish, age, pending } = await startScenario()
    for (const due of ['inf', '1e300', '9007199254740993', '-inf', '99999999999999']) {
      await raw.flushall()
      const consumer = billing((_event, { deliveryCount }) => {
        if (deliveryCount === 1) throw new Error('no')
      })
      const [id = ''] = await publish('a')
      await poll(consumer, { redis })
      await raw.call('zadd', DUE, due, id)
      await age(90_000)
      const { acked } = await adding(claimOnce(consumer, { redis }))
      const next = await adding(claimOnce(consumer, { redis }))
      expect([due, acked + next.acked, await pending()]).toEqual([due, 1, []])
    }
  })

  it('a doubt that is no time forgives no death', async () => {
    const { redis, raw, publish, age } = await startScenario()
    for (const doubt of ['nan', '-inf', '-1', '0x10', '1e3', '']) {
      await raw.flushall()
      await publish('a')
      await raw.xgroup('CREATE', 'orders', 'billing', '0')
      await raw.xreadgroup('GROUP', 'billing', 'poller-2', 'STREAMS', 'orders', '>')
      await raw.hset(STATE, 'doubt:poller-2', doubt)
      await age(90_000)
      const deliveries: number[] = []
      await claimOnce(
        billing((_event, { deliveryCount }) => void deliveries.push(deliveryCount)),
        { redis },
      )
      expect([doubt, deliveries]).toEqual([doubt, [2]])
    }
  })

  it('a group set to the last possible id goes on with what is pending', async () => {
    const { redis, raw, publish, age, pending } = await startScenario()
    const consumer = billing((_event, { deliveryCount }) => {
      if (deliveryCount === 1) throw new Error('no')
    })
    await publish('a')
    await poll(consumer, { redis })
    await raw.xgroup('SETID', 'orders', 'billing', LAST)
    await age(90_000)
    expect(await adding(claimOnce(consumer, { redis }))).toMatchObject({ claimed: 1, acked: 1 })
    expect(await adding(claimOnce(consumer, { redis }))).toMatchObject({ claimed: 0, drained: true })
    expect(await adding(poll(consumer, { redis }))).toMatchObject({ read: 0 })
    expect(await pending()).toEqual([])
    await raw.xgroup('DESTROY', 'orders', 'billing')
    await claimOnce(consumer, { redis })
    expect(await adding(poll(consumer, { redis }))).toMatchObject({ read: 1 })
  })

  it('an entry with the last possible id is claimed like any other', async () => {
    const { redis, raw, age, pending } = await startScenario()
    const consumer = billing((_event, { deliveryCount }) => {
      if (deliveryCount === 1) throw new Error('no')
    })
    await createPublisher({ stream: 'other', redis }).publish(OrderPaid, { orderId: 'last' })
    const [[, fields] = ['', []]] = await raw.xrange('other', '-', '+')
    await raw.xadd('orders', LAST, ...fields)
    await poll(consumer, { redis })
    await age(90_000)
    expect(await adding(claimOnce(consumer, { redis }))).toMatchObject({ claimed: 1, acked: 1 })
    expect([await pending(), (await adding(poll(consumer, { redis }))).read]).toEqual([[], 0])
  })
})
