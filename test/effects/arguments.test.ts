import type { Effects } from 'millrace'
import { createPublisher, defineEvent, effects, envelopeCodec } from 'millrace'
import { connectMemory, createHandlerContext, effectsOf } from 'millrace/testing'
import { describe, expect, it, test } from 'vitest'
import * as z from 'zod/mini'
import { Booked, ledgerOf } from './asking.ts'

const redis = connectMemory()
const ledger = ledgerOf(redis)
const Slow = defineEvent('Slow', {
  payload: { '~standard': { version: 1, vendor: 'own', validate: async (value: unknown) => ({ value }) } },
})
const KEY = '{orders}:n'
const payload = { orderId: 'o-1' }

/** Each is refused where it is called, by a message that has these words. */
const WRONG: Readonly<Record<string, readonly [ask: (e: Effects) => unknown, kind: string, rule: string]>> = {
  'a key of another hash slot': [
    (e) => e.increment('other'),
    'TypeError',
    'its key must lie in the stream\'s hash slot, as "{orders}:…", which key() of the effects gives',
  ],
  'no key': [
    (e) => e.increment(undefined as never),
    'TypeError',
    'key must be a string that is not empty, got undefined',
  ],
  'an empty key': [(e) => e.set('', 'x'), 'TypeError', 'key must be a string that is not empty, got ""'],
  'the stream': [(e) => e.delete('orders'), 'TypeError', "must not be one of the consumer's own"],
  'the lease': [
    (e) => e.set('{orders}:billing:slot:poller-0', 'x'),
    'TypeError',
    "must not be one of the consumer's own",
  ],
  'the dead letters': [(e) => e.delete('{orders}:billing:dlq'), 'TypeError', "must not be one of the consumer's own"],
  'a marker': [(e) => e.expire('{orders}:billing:done:e1', 1), 'TypeError', "must not be one of the consumer's own"],
  'delayed events': [(e) => e.delete('{orders}:delayed:events'), 'TypeError', "must not be one of the consumer's own"],
  'what was published': [
    (e) => e.delete('{orders}::published::e1'),
    'TypeError',
    "must not be one of the consumer's own",
  ],
  'versions of an aggregate': [
    (e) => e.delete('{orders}::aggregate::account:a'),
    'TypeError',
    "must not be one of the consumer's own",
  ],
  'half a character': [(e) => e.set(KEY, '\ud800'), 'TypeError', 'value must be text of whole characters'],
  'an increment by half': [(e) => e.increment(KEY, 1.5), 'RangeError', 'by must be a whole number'],
  'an increment by what a number cannot hold': [(e) => e.increment(KEY, 2 ** 53), 'RangeError', 'a bigint beyond 2^53'],
  'an increment beyond 64 bits': [(e) => e.increment(KEY, 2n ** 63n), 'RangeError', 'must be an integer of 64 bits'],
  'an increment by text': [(e) => e.increment(KEY, '1' as never), 'TypeError', 'by must be a whole number or a bigint'],
  'a value that is no number': [(e) => e.set(KEY, Number.NaN), 'RangeError', 'value must be finite, got NaN'],
  'a value that is an object': [(e) => e.set(KEY, {} as never), 'TypeError', 'value must be a string'],
  'no time to live': [(e) => e.set(KEY, 'x', { ttlMs: 0 }), 'RangeError', 'ttlMs must be >= 1, got 0'],
  'half a millisecond': [(e) => e.expire(KEY, 1.5), 'RangeError', 'ttlMs must be a whole number, got 1.5'],
  'an unknown option': [(e) => e.set(KEY, 'x', { ttl: 1 } as never), 'TypeError', 'unknown option "ttl"'],
  'no fields': [(e) => e.setFields(KEY, {}), 'TypeError', 'fields must have one at least'],
  'fields that are none': [(e) => e.setFields(KEY, 'a' as never), 'TypeError', 'fields must be an object, got string'],
  'no members': [(e) => e.addToSet(KEY), 'TypeError', 'members must be one at least'],
  'an array of members': [(e) => e.removeFromSet(KEY, ['a'] as never), 'TypeError', 'members must be a string'],
  'no elements': [(e) => e.addToHyperLogLog(KEY), 'TypeError', 'elements must be one at least'],
  'a count below 1': [(e) => e.keepHighest(KEY, 0), 'RangeError', 'count must be >= 1, got 0'],
  'an expectation of half': [
    (e) => e.expectField(KEY, 'f', { atLeast: 0.5 }),
    'RangeError',
    'atLeast must be a whole number',
  ],
  'an expectation that is unknown': [
    (e) => e.expectField(KEY, 'f', { atMost: 1 } as never),
    'TypeError',
    'unknown option "atMost"',
  ],
  'an expectation of nothing': [
    (e) => e.expectField(KEY, 'f', undefined as never),
    'TypeError',
    'expected must be a string',
  ],
  'a score that is none': [
    (e) => e.addToSortedSet(KEY, 'm', Number.NaN),
    'RangeError',
    'score must be a number, got NaN',
  ],
  'a score that grows by what is not finite': [
    (e) => e.incrementScore(KEY, 'm', Infinity),
    'TypeError',
    'by must be a finite number, got Infinity',
  ],
  'a score that grows by text': [
    (e) => e.incrementScore(KEY, 'm', '1' as never),
    'TypeError',
    'by must be a finite number, got string',
  ],
  'a condition that is none': [
    (e) => e.addToSortedSet(KEY, 'm', 1, { if: 'GT' as never }),
    'TypeError',
    'if must be one of "greater", "less", "absent", "present", got "GT"',
  ],
  'two types of one key': [(e) => e.addToSet(KEY, 'a').increment(KEY), 'TypeError', 'one type, got a set and a string'],
  'a name that is none': [(e) => e.key(''), 'TypeError', 'name must be a string that is not empty'],
  'a copy of a publisher': [(e) => e.publish({ ...ledger }, Booked, payload), 'TypeError', 'the very object'],
  'no publisher': [(e) => e.publish(undefined as never, Booked, payload), 'TypeError', 'the very object'],
  'no event': [
    (e) => e.publish(ledger, {} as never, payload as never),
    'TypeError',
    'event must come from defineEvent, got object',
  ],
  'a publisher of another hash slot': [
    (e) => e.publish(createPublisher({ stream: 'ledger', redis }), Booked, payload),
    'TypeError',
    'stream must lie in the hash slot of "orders", as "{orders}:…", got "ledger"',
  ],
  'a publisher into the dead letters': [
    (e) => e.publish(createPublisher({ stream: '{orders}:billing:dlq', redis }), Booked, payload),
    'TypeError',
    "must not be one of the consumer's own keys",
  ],
  'a delay': [
    (e) => e.publish(ledger, Booked, payload, { delayMs: 1 } as never),
    'TypeError',
    'delayMs must be left out',
  ],
  'a time of delivery': [
    (e) => e.publish(ledger, Booked, payload, { deliverAt: new Date() } as never),
    'TypeError',
    'deliverAt must be left out',
  ],
  'an option of publish that is none': [
    (e) => e.publish(ledger, Booked, payload, { wake: 1 } as never),
    'TypeError',
    'unknown option "wake"',
  ],
  'a schema that answers a promise': [
    (e) => e.publish(ledger, Slow, {}),
    'TypeError',
    'Cannot publish "Slow" as an effect: its schema must answer at once',
  ],
  'a payload that does not fit': [
    (e) => e.publish(ledger, Booked, { orderId: 1 } as never),
    'InvalidPayloadError',
    'Booked',
  ],
  'an event that is too large': [
    (e) => e.publish(ledgerOf(redis, { maxEntryBytes: 100 }), Booked, { orderId: 'o'.repeat(100) }),
    'OversizeEntryError',
    '100',
  ],
  'more arguments than a request takes': [
    (e) => e.addToSet(KEY, ...Array.from({ length: 3_000 }, (_, n) => `m${n}`)),
    'RangeError',
    'all effects of an entry must have at most 2993 arguments, got 3011',
  ],
  'more bytes than a request takes': [
    (e) => e.set(KEY, 'x'.repeat(600_000)).set(KEY, 'ä'.repeat(300_000)),
    'RangeError',
    'all effects of an entry must have at most 1048576 bytes, got 1200046',
  ],
}

describe('effects()', () => {
  it.each(Object.entries(WRONG))('refuses %s, and asks for nothing of it', (_name, [ask, kind, rule]) => {
    const context = createHandlerContext({ stream: 'orders', group: 'billing' })
    const e = effects(context).increment('{orders}:fine')
    let thrown: unknown
    try {
      ask(e)
    } catch (error) {
      thrown = error
    }

    expect((thrown as Error).name).toBe(kind)
    expect((thrown as Error).message).toContain(rule)
    expect(effectsOf(context).length).toBeLessThanOrEqual(2)
    expect(effectsOf(context)[0]).toEqual(['INCRBY', '{orders}:fine', '1'])
  })

  it.each([undefined, null, 'context', {}, createHandlerContext])('refuses a context that is %s', (context) => {
    expect(() => effects(context as never)).toThrow('context must be the very object that the handler was called with')
  })

  it('refuses an event where the handler has one', () => {
    const context = createHandlerContext()
    expect(() => effects(context, { entryId: '1-0' } as never)).toThrow('event must be left out')
  })
})

describe('key()', () => {
  it.each([
    ['orders', '{orders}:booked'],
    ['{shop}:orders', '{shop}:orders:booked'],
  ])('of stream %s is %s', (stream, key) => {
    expect(effects(createHandlerContext({ stream })).key('booked')).toBe(key)
  })
})

test('effectsOf() shows what a handler asked for, in order', () => {
  const context = createHandlerContext({ stream: 'orders', idempotencyKey: 'billing:e1' })
  effects(context).publish(ledger, Booked, payload, { occurredAt: '2026-01-02' }).increment('{orders}:booked')
  effects(context).addToSortedSet('{orders}:z', 'm', Infinity, { if: 'greater' })

  const [append, ...others] = effectsOf(context)
  const fields = append?.slice(append.indexOf('*') + 1) as string[]
  const pairs = Array.from({ length: fields.length / 2 }, (_, n) => [fields[2 * n], fields[2 * n + 1]] as never)

  expect(append?.slice(0, 5)).toEqual(['XADD', '{orders}:ledger', 'MAXLEN', '~', 1_000_000])
  expect(envelopeCodec.decode(pairs, '1-0')).toEqual({
    type: 'Booked',
    version: 1,
    payload,
    eventId: 'billing:e1:1',
    occurredAt: '2026-01-02',
  })
  expect(others).toEqual([
    ['INCRBY', '{orders}:booked', '1'],
    ['ZADD', '{orders}:z', 'GT', '+inf', 'm'],
  ])
})

test('effectsOf() refuses a context of another maker', () => {
  expect(() => effectsOf({} as never)).toThrow('the very object that createHandlerContext or createBatchContext made')
})

test('a schema may be of any kind', () => {
  const context = createHandlerContext({ stream: 'orders' })
  const Any = defineEvent('Any', { payload: z.unknown() })
  effects(context).publish(ledger, Any, 7)
  expect(effectsOf(context)[0]?.at(-1)).toBe('7')
})
