import { expect, test } from 'vitest'
import { xack } from '../../../../src/group/redis/commands/xack.ts'

test.each([
  [['1-0'], ['xack', 'orders', 'billing', '1-0']],
  [
    ['1-0', '2-0', '1-0'],
    ['xack', 'orders', 'billing', '1-0', '2-0', '1-0'],
  ],
])('xack() of %j is one command', (ids, command) => {
  expect(xack('orders', 'billing', ids)).toEqual(command)
})
