import { expect, test } from 'vitest'
import type { Holdings } from '../../soak/observer.ts'
import { breachesOf } from '../../soak/ordered.ts'

const [FIRST, SECOND] = ['1000-0', '1001-0'] as const

function breaches(
  calls: readonly [id: string, startedAt: number, endedAt?: number, ending?: 'succeeded' | 'failed'][],
  {
    letters = [],
    pending = [],
    key = 'k',
    isHalted = false,
  }: Partial<Holdings> & { key?: string; isHalted?: boolean } = {},
) {
  const entries = [FIRST, SECOND].map((id) => ({ id, eventId: id, kind: 'ok', ...(key && { key }) }))
  const holdings = { entries, letters, pending, backlog: 0, sideKeys: [], consumerNames: [] }
  return breachesOf(
    holdings,
    calls.map(([entryId, startedAt, endedAt, ending = 'succeeded'], n) => ({
      entryId,
      process: `ordered-${n}-0`,
      deliveryCount: 1,
      startedAt,
      ...(endedAt !== undefined && { endedAt, ending }),
    })),
    () => isHalted,
    0,
  ).map(({ rule }) => rule.slice('in order: '.length))
}

const OVERTAKEN = 'an entry starts once all before it of its key is decided'

test('takes entries of a key one after the other for order', () => {
  expect(
    breaches([
      [FIRST, 2_000, 2_010],
      [SECOND, 2_010, 2_020],
    ]),
  ).toEqual([])
})

test('names an entry that starts while one before it runs or waits', () => {
  expect(
    breaches([
      [FIRST, 2_000, 2_010],
      [SECOND, 2_009, 2_020],
    ]),
  ).toEqual([OVERTAKEN])
  expect(
    breaches([
      [FIRST, 2_000, 2_010, 'failed'],
      [SECOND, 2_011, 2_020],
      [FIRST, 2_030, 2_040],
    ]),
  ).toEqual([OVERTAKEN])
})

test('asks no order of entries without a key, nor of who stood still', () => {
  const calls: Parameters<typeof breaches>[0] = [
    [FIRST, 2_000, 2_010],
    [SECOND, 2_001, 2_020],
  ]
  expect([breaches(calls, { key: '' }), breaches(calls, { isHalted: true })]).toEqual([[], []])
})

test('takes a dead letter for a decision', () => {
  const letters = [{ id: '2015-0', entryId: FIRST, reason: 'crashed', deliveryCount: 4 }]
  expect(
    breaches(
      [
        [FIRST, 2_000],
        [SECOND, 2_016, 2_020],
      ],
      { letters },
    ),
  ).toEqual([])
  expect(
    breaches(
      [
        [FIRST, 2_000],
        [SECOND, 2_014, 2_020],
      ],
      { letters },
    ),
  ).toEqual([OVERTAKEN])
})

test('names what is lost, and what is left', () => {
  expect(breaches([[FIRST, 2_000, 2_010]])).toEqual(['no entry is lost'])
  const pending = [{ id: SECOND, owner: 'parked', deliveryCount: 1 }]
  expect(breaches([[FIRST, 2_000, 2_010]], { pending })).toEqual(['nothing is left in the end'])
})
