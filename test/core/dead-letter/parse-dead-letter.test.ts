import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { deadLetterHeadFields } from '../../../src/core/dead-letter/dead-letter.ts'
import type { DeadLetter } from '../../../src/core/dead-letter/parse-dead-letter.ts'
import { parseDeadLetter } from '../../../src/core/dead-letter/parse-dead-letter.ts'
import type { Bytes, Field } from '../../../src/core/entry.ts'

const origin = { stream: 'orders', group: 'billing', consumerName: 'poller-0', entryId: '5-1', deliveryCount: 3 }
const facts = { reason: 'max-deliveries', lastDeliveredAt: 0, failedAt: 1_500 } as const

/** A letter's pairs as the server gives them. */
function aLetter(
  own: readonly Field[],
  { facts: more = {}, count = own.length }: { facts?: object; count?: number | string } = {},
) {
  const head = [...deadLetterHeadFields(origin, { ...facts, ...more }), 'fieldCount', String(count)]
  return [...pairsOf(head.map((text) => Buffer.from(text))), ...own]
}

function pairsOf(values: readonly Bytes[]): Field[] {
  return Array.from({ length: values.length / 2 }, (_, n) => [values[2 * n] as Bytes, values[2 * n + 1] as Bytes])
}

/** One field as the script packs them. */
function packed(own: readonly Field[], asText = false): Field {
  const bytes = Buffer.concat(
    own.flat().flatMap((value) => [Buffer.from(`${value.length}:`), Buffer.from(value as Buffer)]),
  )
  return asText ? ['packed', bytes.toString()] : [Buffer.from('packed'), bytes]
}

const bytes = fc.uint8Array({ maxLength: 12 }).map((array) => Buffer.from(array))

describe('parseDeadLetter()', () => {
  test('reads every field of the head, and leaves out what is not known', () => {
    const known = { eventId: 'e-1', eventType: 'OrderPaid', schemaVersion: 2, traceparent: '00-1-2-01' }
    const letter = {
      id: '7-0',
      stream: 'orders',
      group: 'billing',
      entryId: '5-1',
      consumerName: 'poller-0',
      reason: 'max-deliveries',
      deliveryCount: 3,
      lastDeliveredAt: '1970-01-01T00:00:00.000Z',
      failedAt: '1970-01-01T00:00:01.500Z',
      fields: [],
    }

    expect(parseDeadLetter('7-0', aLetter([], { facts: { ...known, error: new RangeError('no') } }))).toEqual({
      ...letter,
      ...known,
      error: { name: 'RangeError', message: 'no', stack: expect.stringContaining('RangeError: no') },
    })
    expect(parseDeadLetter('7-0', aLetter([]))).toEqual(letter)
  })

  test('gives back the fields of any entry, plain and packed', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(bytes, bytes), { minLength: 2, maxLength: 20 }), (own) => {
        const letters = [aLetter(own), aLetter([packed(own)], { count: own.length })]
        for (const pairs of letters) expect((parseDeadLetter('7-0', pairs) as DeadLetter).fields).toEqual(own)
      }),
    )
  })

  test('takes names of the head, fieldCount and packed for an entry’s own where they are', () => {
    const own = pairsOf(['group', 'search', 'fieldCount', '9', 'packed', '1:a'].map((text) => Buffer.from(text)))
    for (const fields of [own, own.slice(2)])
      expect(parseDeadLetter('7-0', aLetter(fields))).toMatchObject({ group: 'billing', fields })
  })

  test('over REST reads packed text, and says so where bytes were lost', () => {
    const own = pairsOf(['name ✓', 'value'])
    const count = own.length
    const lost = packed(pairsOf([Buffer.from([0xff]), Buffer.from('value')]))
    const text: Field[] = own.map(([name, value]) => [Buffer.from(name as string), Buffer.from(value as string)])

    expect(parseDeadLetter('7-0', aLetter([packed(text, true)], { count: 1 }))).toMatchObject({
      fields: [['packed', expect.anything()]],
    })
    expect(parseDeadLetter('7-0', aLetter([packed([...text, ...text], true)], { count: 2 * count }))).toMatchObject({
      fields: [...own, ...own],
    })
    expect(parseDeadLetter('7-0', aLetter([['packed', lost[1].toString()]], { count: 2 }))).toMatchObject({
      fields: undefined,
      group: 'billing',
    })
  })

  test.each<[string, Field[], string]>([
    ['nothing', [], 'its field originalStream is missing'],
    ['another’s entry', pairsOf(['a', 'b']), 'its field originalStream is missing'],
    ['a head without its end', aLetter([]).slice(0, -1), 'its field originalStream is missing'],
    [
      'no id',
      [
        ['originalStream', 's'],
        ['originalId', '?'],
        ['group', 'g'],
        ['fieldCount', '0'],
      ],
      'its originalId is no entry id',
    ],
    ['no number', aLetter([], { count: 'x' }), 'its fieldCount is no whole number'],
    ['too few', aLetter(pairsOf(['a', 'b']), { count: 2 }), 'its fieldCount is 2, and 1 follow'],
    ['too many', aLetter(pairsOf(['a', 'b', 'c', 'd']), { count: 1 }), 'its fieldCount is 1, and 2 follow'],
  ])('says what is wrong: %s', (_title, pairs, problem) => {
    expect(parseDeadLetter('7-0', pairs)).toEqual({ id: '7-0', problem })
  })

  test('reads anything', () => {
    const texts = fc.constantFrom(
      'originalStream',
      'originalId',
      'group',
      'fieldCount',
      'packed',
      '1-0',
      '1',
      '1:a',
      '9999999999:',
    )
    const any = fc.oneof(texts, bytes)
    fc.assert(
      fc.property(fc.array(fc.tuple(any, any), { maxLength: 8 }), (pairs) => void parseDeadLetter('7-0', pairs)),
    )
  })
})
