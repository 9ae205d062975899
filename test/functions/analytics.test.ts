import type { EventOf } from 'millrace'
import { createHandlerContext, effectsOf } from 'millrace/testing'
import { describe, expect, it, test } from 'vitest'
import { judge, median } from '../../functions/analytics/anomalies.ts'
import { countCart, countPurchase, countView, nameOf } from '../../functions/analytics/count-activity.ts'
import { keys, minutesOf, placeOf, sumField, sumOf } from '../../functions/analytics/windows.ts'
import type { CartChanged, PageViewed, Purchased } from '../../functions/events/activity.ts'
import { centsOf, moneyText } from '../../functions/shared/money.ts'
import { startOf, startsOf, timeOf } from '../../functions/shared/time.ts'

const PUBLISHED = Date.parse('2026-11-29T17:04:00Z')
const MINUTE_MS = 60_000
const at = (ms: number) => ({ occurredAt: new Date(ms).toISOString() })
const place = (occurredAtMs: number) => placeOf(at(occurredAtMs), `${PUBLISHED}-3`)

describe('placeOf()', () => {
  test.each<[string, number, object]>([
    ['just now', PUBLISHED, { at: PUBLISHED }],
    ['ten minutes before', PUBLISHED - 600_000, { at: PUBLISHED - 600_000 }],
    ['a millisecond more', PUBLISHED - 600_001, { at: PUBLISHED, refused: 'late' }],
    ['1970', 0, { at: PUBLISHED, refused: 'late' }],
    ['five minutes ahead', PUBLISHED + 300_000, { at: PUBLISHED + 300_000 }],
    ['a millisecond more than that', PUBLISHED + 300_001, { at: PUBLISHED, refused: 'ahead' }],
    ['the far future', Date.parse('9999-12-31T23:59:59Z'), { at: PUBLISHED, refused: 'ahead' }],
  ])('says where an event of %s belongs', (_when, ms, expected) => {
    expect(place(ms)).toEqual(expected)
  })

  test.each([undefined, '', 'yesterday', '2026-13-01T00:00:00Z', '2026-02-30', '17:04', '+275760-09-13T00:00:01Z'])(
    'makes a dead letter of what does not say when it happened: %s',
    (occurredAt) => {
      const event = occurredAt === undefined ? {} : { occurredAt }

      expect(() => placeOf(event, `${PUBLISHED}-0`)).toThrow(expect.objectContaining({ name: 'NonRetryableError' }))
    },
  )
})

describe('timeOf()', () => {
  test.each([
    '2026-11-29T17:04:00Z',
    '2026-11-29T17:04:00.000000',
    '2026-11-29 17:04:00+00:00',
    '2026-11-29T18:04+01:00',
    '2026-11-29T17:04:00+0000',
    '2026-11-29T17:04',
    '2026-11-29 17:04:00.000+00',
    '2026-11-29t17:04:00,000z',
    '2026-11-29T22:49+05:45',
  ])('reads %s, wherever it runs', (text) => {
    expect(timeOf(text)).toBe(PUBLISHED)
  })

  test.each([
    '2026-02-30T00:00Z',
    '2026-02-29T00:00',
    '2026-11-31T00:00Z',
    '2026-11-29T25:00Z',
    '2026-11-29T17:04+01:',
  ])('takes %s for none', (text) => expect(timeOf(text)).toBeNaN())

  it('knows the leap day', () => {
    expect(timeOf('2028-02-29T23:59:59.999Z')).toBe(Date.parse('2028-03-01') - 1)
  })
})

describe('windows', () => {
  it('begin at whole minutes, hours and days of UTC, before 1970 too', () => {
    expect([startOf(PUBLISHED + 1, MINUTE_MS), startOf(-1, MINUTE_MS)]).toEqual([PUBLISHED, -MINUTE_MS])
    expect(startsOf(PUBLISHED + 1, PUBLISHED + 2 * MINUTE_MS, MINUTE_MS)).toEqual([PUBLISHED, PUBLISHED + MINUTE_MS])
    expect(startsOf(PUBLISHED, PUBLISHED, MINUTE_MS)).toEqual([])
  })

  it('slide over sums of minutes', () => {
    const hour = Date.parse('2026-11-29T17:00:00Z')
    const minutes = minutesOf([hour], [['04:views', '2', '05:views', '40', '05:cents', '9223372036854775807']])

    expect(sumOf(minutes, 'views', hour, hour + 5 * MINUTE_MS)).toBe(2n)
    expect(sumOf(minutes, 'views', hour + MINUTE_MS, hour + 6 * MINUTE_MS)).toBe(42n)
    expect(moneyText(sumOf(minutes, 'cents', hour, hour + 6 * MINUTE_MS))).toBe('92233720368547758.07')
    expect(sumField('views', PUBLISHED)).toBe('04:views')
  })
})

test.each([
  ['0.00', 0n],
  ['0.07', 7n],
  ['99.99', 9_999n],
  ['999999999999.99', 99_999_999_999_999n],
])('centsOf(%j) is exact, and moneyText() its inverse', (text, cents) => {
  expect([centsOf(text), moneyText(cents)]).toEqual([cents, text])
})

describe('nameOf()', () => {
  it('leaves a name as it is', () => {
    expect(nameOf('/item/42?über')).toBe('/item/42?über')
  })

  it('replaces what cannot be shown', () => {
    expect(nameOf('a\u001b[31m\n\u202eb\ud800')).toBe('a\ufffd[31m\ufffd\ufffdb\ufffd')
  })

  it('keeps long names short, and apart', () => {
    const [one, other] = [nameOf('🛒'.repeat(900)), nameOf('🛒'.repeat(901))]

    expect([one.length, one.isWellFormed(), one === other]).toEqual([100, true, false])
  })
})

const who = { user_id: 'u', session_id: 's' }
const entryId = `${PUBLISHED}-0`
const context = () => createHandlerContext({ stream: 'user-actions', group: 'dashboard', entryId })
const ofKeys = (asked: ReturnType<typeof effectsOf>) => new Set(asked.map(([, key]) => key))

describe('what handlers ask for', () => {
  const viewed = (occurredAt: string): EventOf<typeof PageViewed> => ({
    type: 'page_view',
    version: 1,
    eventId: 'e',
    occurredAt,
    payload: { ...who, action: 'view', page: '/' },
  })

  it('a view is counted in the windows of its time, and every key has an end', () => {
    const asking = context()
    countView(viewed('2026-11-29T16:59:59.999Z'), asking)
    const asked = effectsOf(asking)

    expect([...ofKeys(asked)].map((key) => String(key).replace('{user-actions}:stats:', ''))).toEqual([
      'sums:2026-11-29T16:00',
      'active:2026-11-29T16:55',
      'viewed:2026-11-29T16:00',
      'seen',
      'pages:2026-11-29T16:00',
    ])
    expect(ofKeys(asked.filter(([name]) => name === 'PEXPIRE'))).toEqual(ofKeys(asked))
  })

  it('a late view is counted as late, in the minute of its entry, and nowhere else', () => {
    const asking = context()
    countView(viewed('2026-11-29T16:00:00Z'), asking)

    expect(effectsOf(asking)).toEqual([
      ['HINCRBY', keys.sums(PUBLISHED), '04:late', '1'],
      ['PEXPIRE', keys.sums(PUBLISHED), expect.any(Number)],
    ])
  })

  it('a purchase passes all steps, and counts each of its pieces', () => {
    const asking = context()
    const payload = { ...who, action: 'buy' as const, amount: '12.50', items: ['a', 'b', 'a'] }
    const event: EventOf<typeof Purchased> = { type: 'purchase', version: 1, eventId: 'e', ...at(PUBLISHED), payload }
    countPurchase(event, asking)
    const asked = effectsOf(asking)

    expect(asked.filter(([name]) => name === 'HINCRBY').map(([, , field, by]) => [field, by])).toEqual([
      ['04:purchases', '1'],
      ['04:cents', '1250'],
    ])
    expect(asked.filter(([name]) => name === 'SADD')).toHaveLength(3)
    expect(asked.filter(([name]) => name === 'ZINCRBY').map(([, , by, name]) => [name, by])).toEqual([
      ['a', 2],
      ['b', 1],
    ])
  })

  it.each(['add', 'remove'] as const)('a cart to which is %sed was filled', (action) => {
    const asking = context()
    const event: EventOf<typeof CartChanged> = {
      type: 'cart',
      version: 1,
      eventId: 'e',
      ...at(PUBLISHED),
      payload: { ...who, action, sku: 'a' },
    }
    countCart(event, asking)

    expect(effectsOf(asking)).toContainEqual(['SADD', keys.step('carted', PUBLISHED), 's'])
  })
})

describe('judge()', () => {
  const past = (value: (n: number) => number, length = 36) => Array.from({ length }, (_, n) => value(n))

  it('says nothing where there is too little past', () => {
    expect(
      judge(
        1_000,
        past(() => 10, 23),
      ),
    ).toBeUndefined()
  })

  test.each<[string, number, number[], boolean]>([
    ['the usual', 100, past((n) => 95 + (n % 11)), false],
    ['four times the usual', 400, past((n) => 95 + (n % 11)), true],
    ['silence', 0, past((n) => 95 + (n % 11)), true],
    ['a little more than a past that never differs', 120, past(() => 100), false],
    ['much more than it', 300, past(() => 100), true],
    ['the first purchase of all nights', 1, past(() => 0), false],
    ['a crowd in the night', 60, past(() => 0), true],
    ['silence among silence', 0, past(() => 0), false],
    ['the usual, after a past in which a third was an anomaly', 100, past((n) => (n % 3 ? 100 : 10_000)), false],
    ['an anomaly, after such a past', 10_000, past((n) => (n % 3 ? 100 : 10_000)), true],
  ])('takes %s for what it is', (_what, value, samples, isAnomaly) => {
    expect(judge(value, samples)?.isAnomaly).toBe(isAnomaly)
  })

  it('takes nothing for an anomaly that is no number', () => {
    expect(
      judge(
        Number.NaN,
        past(() => Number.NaN),
      )?.isAnomaly,
    ).toBe(false)
  })
})

test('median() is the middle, or between two', () => {
  expect([median([3, 1, 2]), median([4, 1, 3, 2]), median([7]), median([])]).toEqual([2, 2.5, 7, Number.NaN])
})
