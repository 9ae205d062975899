import { expect, test } from 'vitest'
import { KINDS, orderTicks } from '../../../demo/orders/generator.ts'

test('orderTicks() gives ten ticks a second', () => {
  expect([...orderTicks(1, 3)]).toHaveLength(30)
})

test('orderTicks() gives the same orders for the same seed, and others for another', () => {
  expect([...orderTicks(1, 3)]).toEqual([...orderTicks(1, 3)])
  expect([...orderTicks(1, 3)]).not.toEqual([...orderTicks(2, 3)])
})

test('orderTicks() starts with an order of each kind', () => {
  const [first = []] = orderTicks(5, 1)

  expect(new Set(first.map(({ kind }) => kind))).toEqual(new Set(KINDS))
})

test('orderTicks() gives each kind about as often as its share', () => {
  const orders = [...orderTicks(3, 600)].flat()
  const shares = KINDS.map((kind) => (100 * orders.filter((order) => order.kind === kind).length) / orders.length)

  for (const [n, { share }] of KINDS.entries()) expect(Math.abs((shares[n] ?? 0) - share)).toBeLessThan(1)
})
