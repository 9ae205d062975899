import type { Effects, HandlerContext, Report } from 'millrace'
import { definePolicy, effects } from 'millrace'
import { describe, expect, it } from 'vitest'
import type { World } from '../policies/world.ts'
import { billing, counts, describeEverywhere, loseAnswer, Shipped } from '../policies/world.ts'
import { asking, askingBatch, Booked, ledgerOf, readLedger } from './asking.ts'

/** One row for each kind: what is there, what is asked for, a question, and its answer once the entry is acknowledged. */
type Row = readonly [
  before: readonly (string | number)[][],
  ask: (effects: Effects) => Effects,
  question: readonly string[],
  answer: unknown,
]

const KINDS: Readonly<Record<string, Row>> = {
  'increment() of what is not there': [[], (e) => e.increment(e.key('n')), ['GET', '{orders}:n'], '1'],
  'increment() below 0': [
    [['SET', '{orders}:n', '5']],
    (e) => e.increment('{orders}:n', -7),
    ['GET', '{orders}:n'],
    '-2',
  ],
  'increment() to the highest integer': [
    [['SET', '{orders}:n', '9007199254740993']],
    (e) => e.increment('{orders}:n', 9_214_364_837_600_034_814n),
    ['GET', '{orders}:n'],
    '9223372036854775807',
  ],
  'set()': [[['SADD', '{orders}:n', 'a']], (e) => e.set('{orders}:n', 'Ä'), ['GET', '{orders}:n'], 'Ä'],
  'set() and increment()': [[], (e) => e.set('{orders}:n', 41).increment('{orders}:n'), ['GET', '{orders}:n'], '42'],
  'setFields()': [[], (e) => e.setFields('{orders}:h', { a: 1, '': '' }), ['HGET', '{orders}:h', 'a'], '1'],
  'incrementField()': [
    [['HSET', '{orders}:h', 'a', '2']],
    (e) => e.incrementField('{orders}:h', 'a', 2n).incrementField('{orders}:h', 'a'),
    ['HGET', '{orders}:h', 'a'],
    '5',
  ],
  'deleteFields() and incrementField()': [
    [['HSET', '{orders}:h', 'a', 'x', 'b', '1']],
    (e) => e.deleteFields('{orders}:h', 'a', 'c').incrementField('{orders}:h', 'a'),
    ['HGET', '{orders}:h', 'a'],
    '1',
  ],
  'addToSet()': [[], (e) => e.addToSet('{orders}:s', 'a', 'b'), ['SISMEMBER', '{orders}:s', 'b'], 1],
  'removeFromSet() of the last': [
    [['SADD', '{orders}:s', 'a']],
    (e) => e.removeFromSet('{orders}:s', 'a'),
    ['EXISTS', '{orders}:s'],
    0,
  ],
  'addToSortedSet()': [[], (e) => e.addToSortedSet('{orders}:z', 'm', -1.5), ['ZSCORE', '{orders}:z', 'm'], '-1.5'],
  'addToSortedSet() if greater, which it is': [
    [['ZADD', '{orders}:z', 1, 'm']],
    (e) => e.addToSortedSet('{orders}:z', 'm', 2, { if: 'greater' }),
    ['ZSCORE', '{orders}:z', 'm'],
    '2',
  ],
  'addToSortedSet() if less, which it is not': [
    [['ZADD', '{orders}:z', 1, 'm']],
    (e) => e.addToSortedSet('{orders}:z', 'm', 2, { if: 'less' }),
    ['ZSCORE', '{orders}:z', 'm'],
    '1',
  ],
  'addToSortedSet() if absent, which it is not': [
    [['ZADD', '{orders}:z', 1, 'm']],
    (e) => e.addToSortedSet('{orders}:z', 'm', 2, { if: 'absent' }),
    ['ZSCORE', '{orders}:z', 'm'],
    '1',
  ],
  'addToSortedSet() if present, of a key that is not there': [
    [],
    (e) => e.addToSortedSet('{orders}:z', 'm', 2, { if: 'present' }),
    ['EXISTS', '{orders}:z'],
    0,
  ],
  'incrementScore() of what is not there': [
    [],
    (e) => e.incrementScore('{orders}:z', 'm').incrementScore('{orders}:z', 'm', 1.5),
    ['ZSCORE', '{orders}:z', 'm'],
    '2.5',
  ],
  'incrementScore() below 0': [
    [['ZADD', '{orders}:z', 1, 'm']],
    (e) => e.incrementScore('{orders}:z', 'm', -3),
    ['ZSCORE', '{orders}:z', 'm'],
    '-2',
  ],
  'removeFromSortedSet()': [
    [['ZADD', '{orders}:z', 1, 'm', 2, 'n']],
    (e) => e.removeFromSortedSet('{orders}:z', 'm'),
    ['ZSCORE', '{orders}:z', 'm'],
    null,
  ],
  'keepHighest() of three': [
    [['ZADD', '{orders}:z', 3, 'm', 1, 'n', 2, 'o']],
    (e) => e.keepHighest('{orders}:z', 2),
    ['ZRANGEBYSCORE', '{orders}:z', '-inf', '+inf'],
    ['o', 'm'],
  ],
  'keepHighest() of fewer than stay': [
    [],
    (e) => e.addToSortedSet('{orders}:z', 'm', 1).keepHighest('{orders}:z', 3),
    ['ZSCORE', '{orders}:z', 'm'],
    '1',
  ],
  'addToHyperLogLog()': [
    [['PFADD', '{orders}:p', 'a']],
    (e) => e.addToHyperLogLog('{orders}:p', 'a', 'b', 'c'),
    ['PFCOUNT', '{orders}:p'],
    3,
  ],
  'addToHyperLogLog() twice, of what is not there': [
    [],
    (e) => e.addToHyperLogLog('{orders}:p', 'a').addToHyperLogLog('{orders}:p', 'b'),
    ['PFCOUNT', '{orders}:p'],
    2,
  ],
  'delete()': [[['HSET', '{orders}:h', 'a', 'b']], (e) => e.delete('{orders}:h'), ['EXISTS', '{orders}:h'], 0],
  'delete(), then another type': [
    [['HSET', '{orders}:h', 'a', 'b']],
    (e) => e.delete('{orders}:h').addToSet('{orders}:h', 'a'),
    ['SISMEMBER', '{orders}:h', 'a'],
    1,
  ],
}

/** A set has a list's place where a number should be. */
const wrong = (e: Effects) => e.increment('{orders}:n').increment('{orders}:s')

async function withSet(world: World): Promise<World> {
  await world.command('SADD', '{orders}:s', 'a')
  return world
}

describeEverywhere('effects(context)', (start) => {
  it.each(Object.entries(KINDS))(
    '%s takes place with the acknowledgement',
    async (_name, [before, ask, question, answer]) => {
      const world = await start()
      for (const [name = '', ...args] of before) await world.command(String(name), ...args)
      await world.publish('p1')

      const report = await world.poll(asking(ask))

      expect(counts(report)).toEqual({ read: 1, acked: 1, invoked: 1 })
      const [name = '', ...args] = question
      expect(await world.command(name, ...args)).toEqual(answer)
      expect(await world.pending()).toEqual([])
    },
  )

  it.each(['set', 'expire'] as const)('%s() ends its key after ttlMs', async (method) => {
    const world = await start()
    await world.publish('p1')
    await world.poll(
      asking((e) =>
        method === 'set' ? e.set('{orders}:n', 'x', { ttlMs: 1 }) : e.set('{orders}:n', 'x').expire('{orders}:n', 1),
      ),
    )
    await new Promise((resolve) => setTimeout(resolve, 5))

    expect(await world.command('EXISTS', '{orders}:n')).toBe(0)
  })

  it('publish() appends as its publisher would, under an eventId of the call and its place', async () => {
    const world = await start()
    const ledger = ledgerOf(world.redis, { producer: 'books', maxLength: 3, exactTrimming: true })
    await world.publish('p1', 'p2')

    await world.poll(
      asking((e, { payload }) => {
        e.publish(ledger, Booked, { orderId: payload.id }).increment('{orders}:booked')
        e.publish(ledger, Booked, { orderId: `${payload.id}b` }, { aggregateId: 'a' })
      }),
    )

    expect(await readLedger(world)).toEqual([
      ['billing:p1:2', 'p1b'],
      ['billing:p2:1', 'p2'],
      ['billing:p2:2', 'p2b'],
    ])
    expect(await world.command('GET', '{orders}:booked')).toBe('2')
  })

  it('publish() trims by the age of entries', async () => {
    const world = await start()
    const before = ledgerOf(world.redis)
    await before.publish(Booked, { orderId: 'old' })
    await new Promise((resolve) => setTimeout(resolve, 30))
    const ledger = ledgerOf(world.redis, { retentionMs: 20, exactTrimming: true })
    await world.publish('p1')

    await world.poll(asking((e) => e.publish(ledger, Booked, { orderId: 'new' }, { eventId: 'e1' })))

    expect(await readLedger(world)).toEqual([['e1', 'new']])
  })

  it('publish() appends to the stream of the consumer itself', async () => {
    const world = await start()
    const calls: string[] = []
    const publisher = ledgerOf(world.redis, { stream: 'orders' })
    await world.publish('p1')

    const consumer = asking((e, { eventId, payload }) => {
      calls.push(eventId)
      if (payload.id === 'p1') e.publish(publisher, Shipped, { id: 's1' })
    })

    await world.poll(consumer)
    await world.poll(consumer)

    expect([calls, await world.pending()]).toEqual([['p1', 'billing:p1:1'], []])
  })

  it('drops the effects of a handler that fails', async () => {
    const world = await start()
    await world.publish('p1')

    const report = await world.poll(
      asking((e) => {
        e.increment('{orders}:n')
        throw new Error('no')
      }),
    )

    expect(counts(report)).toEqual({ read: 1, retried: 1, invoked: 1 })
    expect(await world.command('EXISTS', '{orders}:n')).toBe(0)
  })

  it('throws once its handler has ended, and then nothing is written', async () => {
    const world = await start()
    const asked: unknown[] = []
    let kept: Effects | undefined
    let context: HandlerContext | undefined
    await world.publish('p1')
    await world.poll(
      asking((e, _event, of) => {
        kept = e
        context = of
      }),
    )

    for (const late of [() => kept?.increment('{orders}:n'), () => effects(context as HandlerContext)])
      try {
        late()
      } catch (error) {
        asked.push(String(error))
      }

    expect(asked).toEqual([
      'TypeError: Cannot increment "{orders}:n" as an effect: the handler has ended',
      'TypeError: Cannot collect effects: the handler has ended',
    ])
  })

  it('throws once the time of its handler is over', async () => {
    const world = await start()
    let late: unknown
    await world.publish('p1')
    const { promise, resolve } = Promise.withResolvers<void>()
    const report = await world.poll(
      asking(
        async (e, _event, { signal }) => {
          e.increment('{orders}:n')
          await new Promise((timeout) => signal.addEventListener('abort', timeout))
          try {
            e.increment('{orders}:n')
          } catch (error) {
            late = String(error)
          }
          resolve()
        },
        { handlerTimeoutMs: 100 },
      ),
    )
    await promise

    expect([report.retried, await world.command('EXISTS', '{orders}:n')]).toEqual([1, 0])
    expect(late).toContain('the handler has ended')
  })

  it('makes what is refused a failure: retried by the back-off, then a dead letter', async () => {
    const world = await withSet(await start())
    const consumer = asking(wrong, { maxDeliveries: 3, backoff: { firstMs: 60_000, factor: 1, maxMs: 60_000 } })
    await world.publish('p1')

    const reports = [await world.poll(consumer)]
    expect(await world.pending()).toEqual([['p1', 'parked', 1]])
    for (let round = 0; round < 2; round++) {
      await world.pass(120_000)
      reports.push(await world.claim(consumer))
    }

    expect(reports.map(counts)).toEqual([
      { read: 1, retried: 1, invoked: 1 },
      { claimed: 1, retried: 1, invoked: 1 },
      { claimed: 1, deadLettered: 1, invoked: 1 },
    ])
    expect(reports.map(({ failed }) => failed)).toEqual([1, 1, 1])
    expect(await world.command('EXISTS', '{orders}:n')).toBe(0)
  })

  it('refuses one entry, and carries out its neighbours', async () => {
    const world = await withSet(await start())
    await world.publish('p1', 'p2', 'p3')

    const report = await world.poll(
      asking((e, { payload }) => (payload.id === 'p2' ? wrong(e) : e.increment('{orders}:n'))),
    )

    expect(counts(report)).toEqual({ read: 3, acked: 2, retried: 1, invoked: 3 })
    expect(await world.command('GET', '{orders}:n')).toBe('2')
  })

  it('refuses the effects of a zombie', async () => {
    const world = await start()
    await world.publish('p1')
    const consumer = asking(
      async (e, _event, { deliveryCount }) => {
        e.increment('{orders}:n')
        if (deliveryCount > 1) return
        await world.pass(60_000)
        await world.claim(consumer)
      },
      { minIdleMs: 15_000 },
    )

    const report = await world.poll(consumer).catch((error: unknown) => (error as { report: Report }).report)

    expect([report.acked, report.superseded + report.unsettled]).toEqual([0, 1])
    expect(await world.command('GET', '{orders}:n')).toBe('1')
  })

  it.each([2, 3])('takes place once though the answer to request %i is lost', async (nth) => {
    const world = await start()
    const ledger = ledgerOf(world.redis)
    await world.publish('p1', 'p2', 'p3')
    const consumer = asking((e, { payload }) => e.publish(ledger, Booked, { orderId: payload.id }), {
      batchSize: 2,
      concurrency: 1,
    })

    await loseAnswer(world, consumer, { nth })

    expect((await readLedger(world)).map(([, id]) => id).toSorted()).toEqual(['p1', 'p2', 'p3'])
  })

  it('takes place with what policies join, or nothing of either does', async () => {
    const world = await withSet(await start())
    const joins = definePolicy({
      name: 'joins',
      begin: () => ({ joins: ({ event }) => [['sadd', `{orders}:${event?.eventId}`, 'x']] }),
    })
    await world.publish('p1', 'p2')

    const report = await world.poll(
      asking((e, { payload }) => (payload.id === 'p2' ? wrong(e) : e.increment('{orders}:n')), { use: [joins] }),
    )

    expect(counts(report)).toEqual({ read: 2, acked: 1, retried: 1, invoked: 2 })
    const there = await Promise.all(['n', 'p1', 'p2'].map((key) => world.command('EXISTS', `{orders}:${key}`)))
    expect(there).toEqual([1, 1, 0])
  })

  it('leaves pending an entry for which a policy joins what is refused', async () => {
    const world = await withSet(await start())
    const joins = definePolicy({ name: 'joins', begin: () => ({ joins: () => [['HSET', '{orders}:s', 'a', 'b']] }) })
    await world.publish('p1')

    const error: unknown = await world
      .poll(asking((e) => e.increment('{orders}:n'), { use: [joins] }))
      .catch((thrown: unknown) => thrown)

    expect((error as { report: Report }).report).toMatchObject({ unsettled: 1, failed: 0 })
    expect(await world.command('EXISTS', '{orders}:n')).toBe(0)
    expect(await world.pending()).toEqual([['p1', 'parked', 1]])
  })

  it.each([
    [['SET', '{orders}:s', 'x', 'XX'], 0],
    [['SET', '{orders}:s', 'x', 'NX'], 1],
    [['SET', '{orders}:q', 'x', 'XX'], 1],
    [['SET', '{orders}:p', 'x'], 0],
  ] as const)('knows what a policy makes of a key by %j', async (command, acked) => {
    const world = await withSet(await start())
    const joins = definePolicy({ name: 'joins', begin: () => ({ joins: () => [command] }) })
    await world.publish('p1')

    const report = await world.poll(
      asking(
        (e) => e.addToSet('{orders}:s', 'b').setFields('{orders}:q', { a: 1 }).addToHyperLogLog('{orders}:p', 'a'),
        {
          use: [joins],
        },
      ),
    )

    expect(report).toMatchObject({ acked, failed: 1 - acked })
  })

  it('knows that a policy ends a key', async () => {
    const world = await withSet(await start())
    const joins = definePolicy({ name: 'joins', begin: () => ({ joins: () => [['PEXPIRE', '{orders}:s', -1]] }) })
    await world.publish('p1')

    const report = await world.poll(asking((e) => e.increment('{orders}:s'), { use: [joins] }))

    expect(report).toMatchObject({ acked: 1, failed: 0 })
    expect(await world.command('GET', '{orders}:s')).toBe('1')
  })

  it('fails an entry for which policies join more than a request takes', async () => {
    const world = await start()
    const many = Array.from({ length: 1_500 }, (_, n) => `m${n}`)
    const joins = definePolicy({ name: 'joins', begin: () => ({ joins: () => [['SADD', '{orders}:s', ...many]] }) })
    await world.publish('p1')

    const report = await world.poll(
      asking((e) => e.addToSet('{orders}:t', ...many, ...many.slice(50)), { use: [joins] }),
    )

    expect(counts(report)).toEqual({ read: 1, retried: 1, invoked: 1 })
    expect(await world.command('EXISTS', '{orders}:s')).toBe(0)
  })
})

describeEverywhere('effects(context) of a copy', (start) => {
  it('fails the entry, and says so', async () => {
    const world = await start()
    let said: unknown
    await world.publish('p1')

    const report = await world.poll(
      billing((_event, context) => {
        try {
          effects({ ...(context as HandlerContext) })
        } catch (error) {
          said = String(error)
          throw error
        }
      }),
    )

    expect(report.retried).toBe(1)
    expect(said).toContain('context must be the very object that the handler was called with')
  })
})

describe('a batch', () => {
  describeEverywhere('with effects for each event', (start) => {
    it('carries out those of what succeeded', async () => {
      const world = await withSet(await start())
      await world.publish('p1', 'p2', 'p3')
      const consumer = askingBatch((events, context) => {
        for (const event of events)
          effects(context, event).increment('{orders}:n').addToSet('{orders}:done', event.eventId)
        effects(context, events[1]).increment('{orders}:s')
        return { batchItemFailures: [{ itemIdentifier: events[2]?.entryId ?? '' }] }
      })

      const report = await world.poll(consumer)

      expect(counts(report)).toEqual({ read: 3, acked: 1, retried: 2, invoked: 3 })
      expect(await world.command('SMEMBERS', '{orders}:done')).toEqual(['p1'])
      expect(await world.command('GET', '{orders}:n')).toBe('1')
    })

    it('throws for an event that is none of it', async () => {
      const world = await start()
      await world.publish('p1')
      const report = await world.poll(
        askingBatch((events, context) =>
          effects(context, { ...(events[0] as never as object), entryId: '0-7' } as never),
        ),
      )

      expect(counts(report)).toEqual({ read: 1, retried: 1, invoked: 1 })
    })
  })

  describeEverywhere('with effects of its own', (start) => {
    it('carries them out once, with all acknowledgements', async () => {
      const world = await start()
      const ledger = ledgerOf(world.redis)
      await world.publish('p1', 'p2', 'p3')

      const report = await world.poll(
        askingBatch((events, context) => {
          effects(context).increment('{orders}:n', events.length).publish(ledger, Booked, { orderId: 'all' })
          effects(context, events[0]).increment('{orders}:n', 10)
        }),
      )

      expect(counts(report)).toEqual({ read: 3, acked: 3, invoked: 3 })
      expect(await world.command('GET', '{orders}:n')).toBe('13')
      expect(await readLedger(world)).toEqual([[expect.stringMatching(/^batch:[0-9a-f]{64}:1$/), 'all']])
    })

    it('carries out nothing where one of its events fails, and all have failed', async () => {
      const world = await start()
      await world.publish('p1', 'p2', 'p3')

      const report = await world.poll(
        askingBatch((events, context) => {
          effects(context).increment('{orders}:n')
          effects(context, events[0]).increment('{orders}:n')
          return { batchItemFailures: [{ itemIdentifier: events[2]?.entryId ?? '' }] }
        }),
      )

      expect(counts(report)).toEqual({ read: 3, retried: 3, invoked: 3 })
      expect(await world.command('EXISTS', '{orders}:n')).toBe(0)
    })

    it('carries out nothing where an effect is refused, and all have failed', async () => {
      const world = await withSet(await start())
      await world.publish('p1', 'p2')

      const report = await world.poll(
        askingBatch((events, context) => {
          effects(context).increment('{orders}:n')
          effects(context, events[1]).increment('{orders}:s')
        }),
      )

      expect(counts(report)).toEqual({ read: 2, retried: 2, invoked: 2 })
      expect(await world.command('EXISTS', '{orders}:n')).toBe(0)
    })

    it('says so where it is too large for one request', async () => {
      const world = await start()
      let said: unknown
      await world.publish(...Array.from({ length: 450 }, (_, n) => `p${n}`))
      const report = await world.poll(
        askingBatch(
          (_events, context) => {
            try {
              effects(context).increment('{orders}:n')
            } catch (error) {
              said = String(error)
            }
          },
          { batchSize: 500, maxEvents: 500 },
        ),
      )

      expect(report.acked).toBe(450)
      expect(said).toBe(
        'RangeError: Cannot increment "{orders}:n" as an effect: all effects of a batch of 450 events must have at most 0 arguments, got 6',
      )
    })
  })
})
