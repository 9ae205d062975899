import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SpaceSaving } from '../../../src/operate/analyze/space-saving.ts'

const added = fc.array(fc.tuple(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 1, max: 50 })), { maxLength: 300 })

function count(capacity: number, entries: readonly (readonly [number, number])[]) {
  const table = new SpaceSaving(capacity, () => undefined)
  const truth = new Map<string, number>()
  for (const [key, weight] of entries) {
    table.add(`${key}`, weight)
    truth.set(`${key}`, (truth.get(`${key}`) ?? 0) + weight)
  }
  return { table, truth }
}

test('SpaceSaving counts no key too low, and none too high by more than its error', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 70 }), added, (capacity, entries) => {
      const { table, truth } = count(capacity, entries)
      for (const { key, count: counted, error } of table.counters()) {
        expect(counted).toBeGreaterThanOrEqual(truth.get(key) as number)
        expect(counted - error).toBeLessThanOrEqual(truth.get(key) as number)
        expect(error).toBeLessThanOrEqual(table.total / capacity)
      }
    }),
  )
})

test('SpaceSaving keeps every key that is above total ÷ capacity, and no more than its capacity', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 70 }), added, (capacity, entries) => {
      const { table, truth } = count(capacity, entries)
      const kept = new Set(table.counters().map(({ key }) => key))
      const frequent = [...truth].filter(([, weight]) => weight > table.total / capacity).map(([key]) => key)

      expect(frequent.filter((key) => !kept.has(key))).toEqual([])
      expect(kept.size).toBe(Math.min(capacity, truth.size))
    }),
  )
})

test('SpaceSaving is exact, highest first, while there are no more keys than it has places', () => {
  fc.assert(
    fc.property(added, (entries) => {
      const { table, truth } = count(61, entries)
      const counts = table.counters().map(({ key, count, error }) => [key, count, error] as const)

      expect(new Map(counts.map(([key, weight]) => [key, weight]))).toEqual(truth)
      expect(counts.every(([, , error]) => error === 0)).toBe(true)
      expect(counts.map(([, weight]) => weight)).toEqual([...truth.values()].toSorted((a, b) => b - a))
      expect(table.isFull).toBe(false)
    }),
  )
})

test('SpaceSaving collects anew for a key that took the place of another', () => {
  const table = new SpaceSaving(1, () => [] as string[])
  table.add('a').push('a')
  table.add('b').push('b')

  expect(table.counters()).toMatchObject([{ key: 'b', count: 2, error: 1, data: ['b'] }])
})
