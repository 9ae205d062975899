import { expect, test } from 'vitest'
import { parseXrange, xrange } from '../../../../src/group/redis/commands/xrange.ts'

test('xrange() asks for a bounded number of entries from an id on', () => {
  expect(xrange('orders', '(1-0', '+', 10)).toEqual(['xrange', 'orders', '(1-0', '+', 'COUNT', 10])
})

test('parseXrange() keeps bytes, order and repeated names', () => {
  const value = Buffer.from([0xff])

  expect(parseXrange([[Buffer.from('1-0'), [Buffer.from('a'), value, Buffer.from('a'), 'b']]])).toEqual([
    {
      id: '1-0',
      fields: [
        [Buffer.from('a'), value],
        [Buffer.from('a'), 'b'],
      ],
    },
  ])
})
