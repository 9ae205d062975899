import { createPublisher, defineEvent, NonRetryableError, orderedBy } from 'millrace'
import type { MemoryConnection } from 'millrace/testing'
import { expect, it } from 'vitest'
import * as z from 'zod/mini'
import type { World } from './world.ts'
import { billing, counts, describeEverywhere } from './world.ts'

const DLQ = '{orders}:billing:dlq'

/** The key of `a1` is `a`; an id without digits has none. */
const keyOf = ({ eventId }: { eventId?: string | undefined }) => eventId?.match(/^([a-z]+)\d+$/)?.[1]
const waits = orderedBy(keyOf, { afterDeadLetter: 'wait' })
const goesOn = orderedBy(keyOf)

/** A handler that notes its calls, and fails for good where a test says so. */
function noting(...hopeless: string[]) {
  const calls: string[] = []
  return {
    calls,
    hopeless,
    handle: ({ payload: { id } }: { payload: { id: string } }) => {
      calls.push(id)
      if (hopeless.includes(id)) throw new NonRetryableError('never')
    },
  }
}

/** The fields of each letter. */
async function letters({ redis, command }: World): Promise<Record<string, string>[]> {
  if ('entries' in redis)
    return (redis as MemoryConnection).entries(DLQ).map(({ fields }) => Object.fromEntries(fields) as never)
  const rows = (await command('XRANGE', DLQ, '-', '+')) as [string, string[]][]
  return rows.map(([, flat]) =>
    Object.fromEntries(flat.flatMap((name, n) => (n % 2 === 0 ? [[name, flat[n + 1] as string]] : []))),
  )
}

/** Somebody deletes all letters by hand. */
async function loseLetters({ redis, command }: World): Promise<void> {
  if ('entries' in redis) (redis as MemoryConnection).trim(DLQ, 0)
  else await command('DEL', DLQ)
}

describeEverywhere("orderedBy() with afterDeadLetter: 'wait'", (start) => {
  it('holds up what follows a dead letter of its key, and no other key', async () => {
    const world = await start()
    const { calls, handle } = noting('a2')
    const consumer = billing(handle, { use: [waits], concurrency: 3 })
    await world.publish('a1', 'a2', 'a3', 'b1', 'none')

    expect(counts(await world.poll(consumer))).toEqual({ read: 5, acked: 3, deadLettered: 1, parked: 1, invoked: 4 })
    await world.publish('a4', 'b2')
    expect(counts(await world.poll(consumer))).toEqual({ read: 2, acked: 1, parked: 1, invoked: 1 })
    expect(counts(await world.claim(consumer))).toEqual({})

    expect(calls.toSorted()).toEqual(['a1', 'a2', 'b1', 'b2', 'none'])
    expect(await world.pending()).toEqual([
      ['a3', 'parked', 0],
      ['a4', 'parked', 0],
    ])
    expect((await letters(world)).map(({ orderingKey }) => orderingKey)).toEqual(['a'])
  })

  it('goes on in the same run where the letter is gone, and counts it', async () => {
    const world = await start()
    const { calls, handle } = noting('a1')
    const consumer = billing(handle, { use: [waits] })
    await world.publish('a1', 'a2', 'a3', 'b1')
    await world.poll(consumer)
    await loseLetters(world)

    const report = await world.poll(consumer)

    expect([report.deadLettersGone, calls]).toEqual([1, ['a1', 'b1', 'a2', 'a3']])
    expect(await world.pending()).toEqual([])
    expect((await world.poll(consumer)).deadLettersGone).toBeUndefined()
  })

  it('holds up a key that has nothing behind its letter', async () => {
    const world = await start()
    const { calls, handle } = noting('a1')
    const consumer = billing(handle, { use: [waits] })
    await world.publish('a1')
    await world.poll(consumer)
    await world.publish('a2')
    await world.poll(consumer)
    await world.claim(consumer)

    expect(calls).toEqual(['a1'])
    await loseLetters(world)
    await world.poll(consumer)
    expect(calls).toEqual(['a1', 'a2'])
  })

  it("goes on once a deployment has 'continue'", async () => {
    const world = await start()
    const { calls, handle } = noting('a1', 'b1')
    await world.publish('a1', 'b1', 'a2', 'b2')
    await world.poll(billing(handle, { use: [waits] }))

    const report = await world.poll(billing(handle, { use: [goesOn] }))

    expect([calls, report.deadLettersGone]).toEqual([['a1', 'b1', 'a2', 'b2'], undefined])
    expect(await world.pending()).toEqual([])
  })

  it("of letters of before, with 'continue', none is waited for", async () => {
    const world = await start()
    const { calls, handle } = noting('a1')
    await world.publish('a1')
    await world.poll(billing(handle, { use: [goesOn] }))
    await world.publish('a2')

    await world.poll(billing(handle, { use: [waits] }))

    expect(calls).toEqual(['a1', 'a2'])
  })

  it('holds up nothing for a letter without a key', async () => {
    const world = await start()
    const { calls, handle } = noting('none')
    const consumer = billing(handle, { use: [waits] })
    await world.publish('none', 'none', 'none')
    await world.poll(consumer)

    expect(calls).toEqual(['none', 'none', 'none'])
    expect((await letters(world)).map(({ orderingKey }) => orderingKey)).toEqual([undefined, undefined, undefined])
  })

  it('holds up a key after the last delivery failed under the hands of a claimer', async () => {
    const world = await start()
    const calls: string[] = []
    const consumer = billing(
      ({ payload: { id } }) => {
        calls.push(id)
        if (id === 'a1') throw new Error('no')
      },
      { use: [waits], maxDeliveries: 3, mode: 'once' },
    )
    await world.publish('a1', 'a2', 'b1')
    await world.poll(consumer)
    for (let round = 0; round < 4; round++) {
      await world.claim(consumer)
      await world.poll(consumer)
    }

    expect(calls).toEqual(['a1', 'b1', 'a1', 'a1'])
    expect((await letters(world)).map(({ reason, orderingKey }) => [reason, orderingKey])).toEqual([
      ['max-deliveries', 'a'],
    ])
    expect(await world.pending()).toEqual([['a2', 'parked', 0]])
  })

  it('holds up a key after what was no event of its schema, or too old', async () => {
    const world = await start()
    const { calls, handle } = noting()
    const consumer = billing(handle, { use: [waits], maxAgeMs: 60_000 })
    const publisher = createPublisher({ stream: 'orders', redis: world.redis })
    await publisher.publish(defineEvent('Paid', { payload: z.unknown() }), { no: 1 }, { eventId: 'a1' })
    await world.publish('a2', 'b1')
    await world.poll(consumer)
    await world.poll(consumer)

    expect(calls).toEqual(['b1'])
    expect((await letters(world)).map(({ reason, orderingKey }) => [reason, orderingKey])).toEqual([['invalid', 'a']])
    expect(await world.pending()).toEqual([['a2', 'parked', 0]])
  })

  it('repeats a key of a lost group from the entry of its letter on', async () => {
    const world = await start()
    const { calls, handle, hopeless } = noting('a2')
    const consumer = billing(handle, { use: [waits] })
    await world.publish('a1', 'a2', 'a3')
    await world.poll(consumer)
    expect(calls).toEqual(['a1', 'a2'])

    hopeless.length = 0
    await world.loseGroup()
    for (let round = 0; round < 3; round++) {
      await world.poll(consumer)
      await world.claim(consumer)
    }

    expect(calls).toEqual(['a1', 'a2', 'a1', 'a2', 'a3'])
    expect(await world.pending()).toEqual([])
  })

  it('waits on where a lost group goes on behind the letter', async () => {
    const world = await start()
    const { calls, handle } = noting('a1')
    const consumer = billing(handle, { use: [waits] })
    await world.publish('a1', 'a2', 'b1')
    await world.poll(consumer)
    await world.claim(consumer)
    await world.loseGroup()
    await world.publish('a3', 'b2')
    for (let round = 0; round < 3; round++) {
      await world.poll(consumer)
      await world.claim(consumer)
    }

    expect(calls.filter((id) => id.startsWith('a'))).toEqual(['a1'])
    expect((await world.pending()).map(([id]) => id)).toEqual(['a2', 'a3'])
    await loseLetters(world)
    for (let round = 0; round < 2; round++) await world.poll(consumer)
    expect(calls.filter((id) => id.startsWith('a'))).toEqual(['a1', 'a2', 'a3'])
  })
})
