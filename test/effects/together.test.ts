import type { Connection } from 'millrace'
import { createPublisher } from 'millrace'
import { connectMemory } from 'millrace/testing'
import { describe, expect, it } from 'vitest'
import { effectScriptCalls } from '../../src/group/redis/settling-effects.ts'
import { billing, OrderPaid } from '../support/consumer.ts'
import { startScenario } from '../support/scenario.ts'

const N = '{orders}:n'
const marker = (eventId: string) => ({ key: `{orders}:billing:done:${eventId}`, ttlMs: 60_000 })

/** Two entries under our name, and what settles them together: each with its marker, the first with an effect. */
async function twoOf(redis: Connection, eventIds: readonly (string | undefined)[]) {
  const publisher = createPublisher({ stream: 'orders', redis })
  await publisher.publishMany([
    [OrderPaid, { orderId: 'o-1' }],
    [OrderPaid, { orderId: 'o-2' }],
  ])
  const group = redis.group(billing(() => {}))
  const slot = await group.takeSlot('poller', 1, 60_000)
  if (!slot) throw new Error('no slot')
  const { entries } = await group.settleAndRead(slot, [], { count: 10 })
  const together = {}
  const settlements = entries.map(({ id, deliveryCount }, n) => ({
    id,
    deliveryCount,
    outcome: { kind: 'ack-with', commands: [], marker: eventIds[n] === undefined ? undefined : marker(eventIds[n]) },
    effects: { commands: n === 0 ? [['INCRBY', N, '1']] : [], together, joinCalls: effectScriptCalls, refused() {} },
  }))
  return {
    async settle() {
      const { counts, failed = [] } = await group.settle(slot, settlements as never)
      const { acked, duplicates, superseded, unsettled } = counts
      return { acked, duplicates, superseded, unsettled, failed: failed.length }
    },
    ask: async (...command: [string, ...string[]]) => (await group.ask([command]))[0],
  }
}

describe.each([
  ['in memory', () => connectMemory()],
  ['on a server', async () => (await startScenario()).redis],
])('a batch with effects of its own, %s', (_where, start) => {
  it('that is settled again by its markers is done, once', async () => {
    const { settle, ask } = await twoOf(await start(), ['e1', 'e2'])

    expect(await settle()).toEqual({ acked: 2, duplicates: 0, superseded: 0, unsettled: 0, failed: 0 })
    expect(await settle()).toEqual({ acked: 2, duplicates: 0, superseded: 0, unsettled: 0, failed: 0 })
    expect(await ask('GET', N)).toBe('1')
  })

  it('that is settled again without markers is superseded, and its effects take place once', async () => {
    const { settle, ask } = await twoOf(await start(), [])

    expect(await settle()).toMatchObject({ acked: 2, superseded: 0 })
    expect(await settle()).toMatchObject({ acked: 0, superseded: 2, failed: 0 })
    expect(await ask('GET', N)).toBe('1')
  })

  it('that has one event twice has failed', async () => {
    const { settle, ask } = await twoOf(await start(), ['e1', 'e1'])

    expect(await settle()).toMatchObject({ acked: 0, failed: 2 })
    expect(await ask('EXISTS', N)).toBe(0)
  })

  it('of which one event was handled already has failed but for that', async () => {
    const { settle, ask } = await twoOf(await start(), ['e1', 'e2'])
    await ask('SET', marker('e2').key, 'd0-1')

    expect(await settle()).toMatchObject({ acked: 1, duplicates: 1, failed: 1 })
    expect(await ask('EXISTS', N)).toBe(0)
  })
})
