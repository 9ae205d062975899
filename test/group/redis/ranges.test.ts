import { describe, expect, test } from 'vitest'
import { rangesOf } from '../../../src/group/redis/ranges.ts'

const ids = (count: number) => Array.from({ length: count }, (_, n) => `1-${n}`)

describe('rangesOf()', () => {
  test('leaves what one command takes as it is, and nothing as one range of every id', () => {
    expect(rangesOf(['2-0', '1-0'])).toEqual([{ from: '-', to: '+', ids: ['2-0', '1-0'] }])
    expect(rangesOf([])).toEqual([{ from: '-', to: '+', ids: [] }])
  })

  test('cuts more into ranges that touch, by the numbers of ids', () => {
    const ranges = rangesOf(ids(9_000).reverse())

    expect(ranges.map(({ from, to, ids }) => [from, to, ids.length])).toEqual([
      ['-', '1-3899', 3_900],
      ['(1-3899', '1-7799', 3_900],
      ['(1-7799', '+', 1_200],
    ])
    expect(ranges.flatMap((range) => range.ids)).toEqual(ids(9_000))
  })
})
