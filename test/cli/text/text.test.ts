import { describe, expect, test } from 'vitest'
import { tableLines } from '../../../src/cli/text/text.ts'
import { formatBytes } from '../../../src/core/words.ts'

test.each([
  [0, '0 B'],
  [1_023, '1023 B'],
  [1_024, '1.0 KB'],
  [12_900_000, '12.3 MB'],
  [2 ** 51, '2048.0 TB'],
])('bytes(%i) is %s', (size, text) => {
  expect(formatBytes(size)).toBe(text)
})

describe('tableLines()', () => {
  const columns = [{ title: 'group' }, { title: 'lag', align: 'right' }] as const

  test('aligns names to the left and numbers to the right', () => {
    expect(
      tableLines(
        columns,
        [
          ['billing', '7'],
          ['b', { text: '1,204', as: 'red' }],
        ],
        (_as, text) => text,
      ),
    ).toEqual(['group      lag', 'billing      7', 'b        1,204'])
  })

  test('colours a cell after it was padded', () => {
    expect(tableLines(columns, [['b', { text: '7', as: 'red' }]], (as, text) => `<${as}>${text}</>`)).toEqual([
      '<dim>group</>  <dim>lag</>',
      'b      <red>  7</>',
    ])
  })
})
