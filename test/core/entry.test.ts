import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  compareEntryIds,
  entryAgeMs,
  entryBytes,
  entryBytesUpperBound,
  entryIdAfter,
  entryIdBefore,
  parseEntryId,
} from '../../src/core/entry.ts'

const MAX = 2n ** 64n - 1n
const LAST = `${MAX}-${MAX}`

/** Any 64 bits, with the ends and what no longer fits a double as likely as the rest. */
const uint64 = fc.oneof(
  fc.bigInt({ min: 0n, max: MAX }),
  fc.bigInt({ min: 0n, max: 3n }),
  fc.bigInt({ min: 2n ** 53n - 2n, max: 2n ** 53n + 2n }),
  fc.bigInt({ min: MAX - 3n, max: MAX }),
)
const pair = fc.record({ ms: uint64, seq: uint64 })

type Pair = { readonly ms: bigint; readonly seq: bigint }
const format = ({ ms, seq }: Pair) => `${ms}-${seq}`
const asNumber = ({ ms, seq }: Pair) => (ms << 64n) | seq

describe('parseEntryId()', () => {
  test('reads back any two unsigned 64-bit integers', () => {
    fc.assert(
      fc.property(pair, (id) => {
        expect(parseEntryId(format(id))).toEqual(id)
      }),
    )
  })

  test('takes a missing sequence for 0', () => {
    fc.assert(
      fc.property(uint64, (ms) => {
        expect(parseEntryId(`${ms}`)).toEqual({ ms, seq: 0n })
      }),
    )
  })

  const bad = [
    '',
    '-',
    '1-',
    '-1',
    '1-1-1',
    '-1-1',
    '1.5-0',
    '1e3-0',
    '0x1-0',
    ' 1-1',
    '1-1\n',
    '1-*',
    '*',
    '$',
    '>',
    '+',
  ]
  const tooLarge = [`${MAX + 1n}-0`, `0-${MAX + 1n}`, `${MAX + 1n}`]
  test.each([...bad, ...tooLarge, '١-٠'])('refuses %j', (id) => {
    expect(() => parseEntryId(id)).toThrow(
      new RangeError(
        `Cannot read entry id: must be <ms>-<seq>, two unsigned 64-bit integers, got ${JSON.stringify(id)}`,
      ),
    )
  })
})

describe('compareEntryIds()', () => {
  test('orders as the 128-bit numbers do', () => {
    fc.assert(
      fc.property(pair, pair, (a, b) => {
        const difference = asNumber(a) - asNumber(b)
        expect(Math.sign(compareEntryIds(format(a), format(b)))).toBe(difference < 0n ? -1 : difference > 0n ? 1 : 0)
      }),
    )
  })

  test('inspects the sequence where the milliseconds are the same', () => {
    fc.assert(
      fc.property(uint64, uint64, uint64, (ms, a, b) => {
        const sign = Math.sign(compareEntryIds(format({ ms, seq: a }), format({ ms, seq: b })))
        expect(sign).toBe(a < b ? -1 : a > b ? 1 : 0)
      }),
    )
  })

  test('takes an id without a sequence for its first', () => {
    expect([compareEntryIds('5', '5-0'), compareEntryIds('5', '5-1') < 0, compareEntryIds('5', '4-9') > 0]).toEqual([
      0,
      true,
      true,
    ])
  })
})

describe('entryIdAfter() and entryIdBefore()', () => {
  test('give the neighbours, with nothing between', () => {
    fc.assert(
      fc.property(pair, (id) => {
        fc.pre(format(id) !== LAST)
        const after = entryIdAfter(format(id))
        expect(asNumber(parseEntryId(after))).toBe(asNumber(id) + 1n)
        expect(entryIdBefore(after)).toBe(format(id))
      }),
    )
  })

  test('carry from the sequence to the milliseconds and back', () => {
    expect([entryIdAfter(`7-${MAX}`), entryIdBefore('8-0')]).toEqual(['8-0', `7-${MAX}`])
  })

  test('end at the first id and at the last', () => {
    expect(entryIdBefore('0-0')).toBe('0-0')
    expect(() => entryIdAfter(LAST)).toThrow(
      new RangeError(`Cannot go past entry id ${LAST}: it is the last there can be`),
    )
  })
})

describe('entryAgeMs()', () => {
  test.each([
    ['of the past', '1000-0', 3_000, 2_000],
    ['a little ahead of the clock', '1000-0', 500, 0],
    ['of the future', '18446744073709551615-0', 3_000, undefined],
    ['on a clock that says no number', '1000-0', Number.NaN, undefined],
    ['on a clock beyond all numbers', '1000-0', Infinity, undefined],
  ])('knows the age of an id %s, or that it is not known', (_, id, now, ageMs) => {
    expect(entryAgeMs(id, now)).toBe(ageMs)
  })
})

describe('entryBytes() and entryBytesUpperBound()', () => {
  test('counts the bytes of names and values, in text as in Buffers', () => {
    const field = fc.tuple(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }))
    fc.assert(
      fc.property(fc.array(field), (fields) => {
        const bytes = Buffer.from(fields.flat().join('')).length
        const asBuffers = fields.map(([name, value]) => [Buffer.from(name), Buffer.from(value)] as const)
        expect([entryBytes(fields), entryBytes(asBuffers)]).toEqual([bytes, bytes])
        expect(Math.min(entryBytesUpperBound(fields), entryBytesUpperBound(asBuffers))).toBeGreaterThanOrEqual(bytes)
      }),
    )
  })
})
