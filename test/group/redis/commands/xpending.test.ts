import { expect, test } from 'vitest'
import { parseXpending, xpending } from '../../../../src/group/redis/commands/xpending.ts'

test('xpending() asks for the lowest ids, without IDLE', () => {
  expect(xpending('orders', 'billing', 100)).toEqual(['xpending', 'orders', 'billing', '-', '+', 100])
})

test('parseXpending() reads entries of consumers, and those that XNACK released', () => {
  const rows = [
    [Buffer.from('1-0'), Buffer.from('poller-0'), 90, 1],
    ['2-0', '', -1, 9223372036854776000],
  ]

  expect(parseXpending(rows)).toEqual([
    { id: '1-0', consumerName: 'poller-0', idleMs: 90, deliveryCount: 1 },
    { id: '2-0', consumerName: '', idleMs: -1, deliveryCount: 2 ** 53 },
  ])
})
