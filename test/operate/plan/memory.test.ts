import { defineConsumer, idempotent, on, orderedBy, prioritized } from 'millrace'
import { plan } from 'millrace/operate'
import { describe, expect, test } from 'vitest'
import { bytesEach } from '../../../src/operate/sizing.ts'
import { billing, OrderPaid } from '../../support/scenario.ts'

const DAY_MS = 86_400_000
const EACH = bytesEach(512)

describe('memory of plan()', () => {
  test('is what settings bound, and how long a stream reaches back', () => {
    const { memory } = plan(
      billing(() => {}),
      { eventsPerSecond: 5 },
    )

    expect(memory).toMatchObject({
      entries: { count: 1_000_000, bytes: Math.round(1_000_000 * EACH.entries) },
      pending: { count: 10_000, bytes: 10_000 * EACH.pending },
      setAside: { count: 100_000 },
      markers: { count: 0, bytes: 0 },
      delays: { count: 0 },
      deadLetters: { count: 100_000 },
      windowMs: 200_000_000,
    })
    expect(memory.bytes).toBe(
      memory.entries.bytes + memory.pending.bytes + memory.setAside.bytes + memory.deadLetters.bytes,
    )
    expect(memory).not.toHaveProperty('used')
    expect(memory).not.toHaveProperty('fix')
  })

  test('is rate × window × bytes where settings are times', () => {
    const consumer = billing(() => {}, { use: [idempotent({ ttlMs: 7 * DAY_MS })] })
    const windows = { retentionMs: DAY_MS, deduplicateMs: 3_600_000, delayMs: 60_000 }
    const { memory } = plan(consumer, { eventsPerSecond: 2, ...windows })

    expect(memory.entries).toEqual({ count: 172_800, bytes: Math.round(172_800 * EACH.entries) })
    expect(memory.markers).toEqual({ count: 7 * 172_800 + 7_200, bytes: expect.any(Number) })
    expect(memory.delays).toEqual({ count: 120, bytes: Math.round(120 * EACH.delays) })
    expect(memory.windowMs).toBe(DAY_MS)
  })

  test('counts what is set aside in order with its lane', () => {
    const ordered = billing(() => {}, { use: [orderedBy(({ aggregateId }) => aggregateId)] })
    const { memory } = plan(ordered, { eventsPerSecond: 5 })

    expect(memory.setAside).toEqual({ count: 100_000, bytes: 100_000 * bytesEach(512, 1).setAside })
    expect(bytesEach(512, 1).setAside).toBeGreaterThan(1.8 * EACH.setAside)
  })

  test('of a set is that of all its streams', () => {
    const jobs = prioritized('jobs', ['high', 'low'])
    const set = defineConsumer({ stream: jobs, group: 'work', routes: [on(OrderPaid, () => {})] })
    const one = plan(
      billing(() => {}),
      { eventsPerSecond: 5 },
    ).memory

    expect(plan(set, { eventsPerSecond: 5 }).memory).toMatchObject({
      entries: { count: 2 * one.entries.count },
      pending: { count: 2 * one.pending.count },
      setAside: { count: 2 * one.setAside.count },
      deadLetters: { count: 2 * one.deadLetters.count },
    })
    expect(plan(set, { retentionMs: DAY_MS }).memory.entries.count).toBe(86_400)
  })

  test('says what to change, and what it says fits', () => {
    const tooMuch = plan(
      billing(() => {}),
      { maxmemoryMb: 512 },
    ).memory
    const [, to = ''] = /^lower maxLength from 1,000,000 to ([\d,]+), /.exec(tooMuch.fix ?? '') ?? []
    const maxLength = Number(to.replaceAll(',', ''))
    const lowered = plan(
      billing(() => {}),
      { maxmemoryMb: 512, maxLength },
    ).memory
    const [, megabytes = ''] = /take a maxmemory of ([\d,]+) MB or more$/.exec(tooMuch.fix ?? '') ?? []
    const larger = plan(
      billing(() => {}),
      { maxmemoryMb: Number(megabytes) },
    ).memory

    expect(tooMuch.used).toBeGreaterThan(1)
    expect([lowered.used, lowered.fix]).toEqual([expect.closeTo(0.9, 1), undefined])
    expect([larger.used, larger.fix]).toEqual([expect.closeTo(0.9, 2), undefined])
  })

  test('names all settings that must be lowered where one is not enough', () => {
    const windows = { retentionMs: 7 * DAY_MS, deduplicateMs: DAY_MS }
    const { fix } = plan(
      billing(() => {}),
      { eventsPerSecond: 100, maxmemoryMb: 2_048, ...windows },
    ).memory

    expect(fix).toMatch(/^lower retentionMs, deduplicateMs to 5 % of what they are, /)
  })

  test.each([
    [{ maxLength: 5, retentionMs: 5 }, /maxLength and retentionMs must not both be given/],
    [{ entryBytes: 0 }, /entryBytes must be >= 1/],
    [{ maxmemoryMb: 0 }, /maxmemoryMb must be >= 1/],
    [{ delayMs: -1 }, /delayMs must be >= 0/],
  ])('refuses %j', (options, message) => {
    expect(() =>
      plan(
        billing(() => {}),
        options,
      ),
    ).toThrow(message)
  })
})
