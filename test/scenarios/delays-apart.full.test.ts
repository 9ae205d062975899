import type { Redis } from 'ioredis'
import { createPublisher, defineEvent, promoteDelays } from 'millrace'
import { describe, expect, it } from 'vitest'
import * as z from 'zod/mini'
import { delayKeyArguments } from '../../src/group/redis/delay-call.ts'
import { delayEventScript } from '../../src/group/redis/scripts/delay-event.ts'
import { pagedEvents } from '../support/delayed-pages.ts'
import { countDelayed, DELAYED, delayOverTcp, delaysOn, passDelays, promoteAll } from '../support/delays.ts'

const HOUR = 3_600_000
const EVENTS = `${DELAYED}:events`
const Reminder = defineEvent('Reminder', { payload: z.object({ orderId: z.string() }) })

async function start() {
  const { redis, scenario } = await delayOverTcp()
  const { raw } = scenario
  const publisher = createPublisher({ stream: 'orders', redis, maxLength: Infinity })
  const later = (...ids: readonly string[]) =>
    publisher.publishMany(
      ids.map((eventId) => [Reminder, { orderId: eventId.padEnd(4_000, 'n') }, { eventId, delayMs: HOUR }] as const),
    )
  return { raw, redis, publisher, later }
}

async function fieldsOf(raw: Redis, kind: 'c' | 's'): Promise<readonly Buffer[]> {
  return (await raw.hkeysBuffer(EVENTS)).filter((name) => name.length > 1 && `${name}`.startsWith(kind))
}

/** Ids of the events that came. */
async function came(raw: Redis): Promise<readonly string[]> {
  const entries = await delaysOn(raw).entries()
  return entries.map((fields) => `${new Map(fields).get('eventId')}`).sort()
}

describe('while what is apart of some events was changed by hand', () => {
  it.each(['', 'x', 'abcd', 'x'.repeat(300)])('field s, to %j: what is delayed after it comes', async (text) => {
    const { raw, redis, later } = await start()
    await later('a')
    await raw.hset(EVENTS, 's', text)
    await later('b', 'c')
    await passDelays(raw, 2 * HOUR)

    expect(await promoteAll(redis)).toBe(3)

    expect(await came(raw)).toEqual(['a', 'b', 'c'])
    expect(await raw.exists(DELAYED, EVENTS)).toBe(0)
  })

  it.each(['', 'x', 'x'.repeat(5), 'ÿ'.repeat(50), 'x'.repeat(4_000)])(
    'ends, to %j: only events that had theirs there are set aside',
    async (text) => {
      const { raw, redis, later } = await start()
      await later('a', 'b')
      for (const field of await fieldsOf(raw, 's')) await raw.hset(EVENTS, field, text)
      await later('c', 'd')
      await passDelays(raw, 2 * HOUR)

      expect(await promoteDelays().promote({ redis, stream: 'orders' })).toMatchObject({ promoted: 2, unreadable: 2 })

      expect(await came(raw)).toEqual(['c', 'd'])
    },
  )

  it.each([0, 1, 600, 100_000])('a value, to %i bytes: its event is set aside as a whole', async (bytes) => {
    const { raw, redis, publisher } = await start()
    // of a page where it reads on as if nothing were missing
    for (const length of [495, 496, 497, 498, 499, 500]) {
      const attributes = { note: 'a'.repeat(length) }
      const payload = { orderId: 'n'.repeat(600 - JSON.stringify({ orderId: '' }).length) }
      await publisher.publish(Reminder, payload, { delayMs: HOUR, attributes })
    }
    for (const field of await fieldsOf(raw, 'c')) await raw.hset(EVENTS, field, 'x'.repeat(bytes))
    await passDelays(raw, 2 * HOUR)

    expect(await promoteDelays().promote({ redis, stream: 'orders' })).toMatchObject({ promoted: 0, unreadable: 6 })

    for (const { eventId } of await pagedEvents(raw)) expect(await publisher.cancel(eventId)).toBe('cancelled')
    expect(await raw.exists(DELAYED, EVENTS)).toBe(0)
  })

  it('the counts are gone: what is delayed after that comes', async () => {
    const { raw, redis, publisher, later } = await start()
    await later('a')
    await publisher.cancel('a')
    await later('small', 'b')
    await raw.hdel(EVENTS, '#')
    const ids = Array.from({ length: 40 }, (_, n) => `o-${n}`)
    await later(...ids)
    await passDelays(raw, 2 * HOUR)

    expect(await promoteAll(redis)).toBe(42)
  })

  it('one of two ends is gone: cancelling removes the other', async () => {
    const { raw, publisher, later } = await start()
    await publisher.publish(Reminder, { orderId: 'stays' }, { delayMs: HOUR })
    const ids = Array.from({ length: 40 }, (_, n) => `o-${n}`)
    await later(...ids)
    const [field] = await fieldsOf(raw, 's')
    await raw.hdel(EVENTS, field as Buffer)

    for (const id of ids) expect(await publisher.cancel(id)).toBe('cancelled')

    expect([await fieldsOf(raw, 'c'), await fieldsOf(raw, 's')]).toEqual([[], []])
  })

  it('a value is cut off, and fields follow it: its event is set aside', async () => {
    const { raw, redis } = await start()
    const keys = delayKeyArguments('orders')
    const fields = ['eventId', 'a', 'payload', 'n'.repeat(4_000), 'note', 'x'.repeat(13)]
    await raw.eval(delayEventScript.lua, keys.length, ...keys, 'a', 'in', 0, '', '', 0, ...fields)
    const [field] = await fieldsOf(raw, 'c')
    // as many bytes as the note has on the page
    await raw.hset(EVENTS, field as Buffer, (await raw.hget(EVENTS, field as Buffer))?.slice(20) as string)

    expect(await promoteDelays().promote({ redis, stream: 'orders' })).toMatchObject({ promoted: 0, unreadable: 1 })
  })
})

it('a run does not go on for ever with events that the server refuses for good', async () => {
  const { raw, redis } = await start()
  const keys = delayKeyArguments('orders')
  // a newer publisher may let through what this one refuses
  const lua = delayEventScript.lua.replace('#bound < 16', '#bound < 32')
  const fields = ['payload', 'n'.repeat(4_000)]
  for (let n = 0; n < 12; n++)
    await raw.eval(lua, keys.length, ...keys, `o-${n}`, 'in', 0, `MAXLEN = ${10n ** 20n}`, '', 0, ...fields)
  const promote = () => promoteDelays().promote({ redis, stream: 'orders' })
  expect(await promote()).toMatchObject({ promoted: 0, unreadable: 12, nextDueAt: undefined })

  expect(await promote()).toMatchObject({ promoted: 0, unreadable: 10, nextDueAt: undefined })

  expect(await countDelayed(raw)).toBe(12)
})
