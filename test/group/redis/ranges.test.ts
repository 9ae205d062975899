import { describe, expect, test } from 'vitest'
import { splitIntoIdRanges } from '../../../src/group/redis/ranges.ts'

const ids = (count: number) => Array.from({ length: count }, (_, n) => `1-${n}`)

describe('splitIntoIdRanges()', () => {
  test('leaves what one command takes as it is, and nothing as one range of every id', () => {
    expect(splitIntoIdRanges(['2-0', '1-0'])).toEqual([{ from: '-', to: '+', ids: ['2-0', '1-0'] }])
    expect(splitIntoIdRanges([])).toEqual([{ from: '-', to: '+', ids: [] }])
  })

  test('cuts more into ranges that touch, by the numbers of ids', () => {
    const ranges = splitIntoIdRanges(ids(9_000).reverse())

    expect(ranges.map(({ from, to, ids }) => [from, to, ids.length])).toEqual([
      ['-', '1-3899', 3_900],
      ['(1-3899', '1-7799', 3_900],
      ['(1-7799', '+', 1_200],
    ])
    expect(ranges.flatMap((range) => range.ids)).toEqual(ids(9_000))
  })
})
