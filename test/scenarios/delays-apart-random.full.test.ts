import type { Redis } from 'ioredis'
import type { Connection } from 'millrace'
import { createPublisher, defineEvent, promoteDelays } from 'millrace'
import { expect, it } from 'vitest'
import * as z from 'zod/mini'
import { countDelayed, DELAYED, delayOverTcp, passDelays } from '../support/delays.ts'

// Random calls against a plain map of what waits. Each event is published for now to a second stream as well: what is promoted must be the same bytes.
const MINUTE = 60_000
const MAX_ENTRY_BYTES = 10_000_000
const Note = defineEvent('Note', { payload: z.string() })

const SIZES = [0, 1, 255, 509, 510, 511, 512, 513, 600, 700, 887, 1_079, 3_064, 3_066, 8_190, 20_000, 65_536, 200_000]
// also what looks like the layout, and what is longer as JSON
const FILLS = [
  'x',
  'é',
  '漢',
  '\u0000',
  '1+',
  'c\u0000\u0000\u0000\u0001',
  's\u0000\u0000\u0000\u0001',
  '"',
  'p00000001',
]
const UUID = '0193b2a4-7c1e-7d3f-8a5b-0123456789ab'
const IDS = [...Array.from({ length: 40 }, (_, n) => `o-${n}`), 'L'.repeat(600), 'é'.repeat(300), UUID, 'c', 's', '#']

/** Numbers that look random, and are the same each time. */
function numbers(seed: number) {
  let at = seed
  const below = (limit: number) => {
    at = (at * 48_271) % 2_147_483_647
    return at % limit
  }
  return { below, pick: <T>(list: readonly T[]) => list[below(list.length)] as T }
}

/** Entries of a stream by the number of their publication: all their bytes. */
async function entriesByNumber(raw: Redis, stream: string): Promise<Map<number, string>> {
  const entries = await raw.xrangeBuffer(stream, '-', '+')
  const numbered = entries.map(([, flat]) => {
    const at = flat.findIndex((name, n) => n % 2 === 0 && `${name}` === 'number')
    return [Number(flat[at + 1]), flat.map((each) => each.toString('latin1')).join('\n')] as const
  })
  expect(new Set(numbered.map(([number]) => number)).size).toBe(entries.length)
  return new Map(numbered)
}

/** What should wait, and have come, after random calls. */
class Model {
  readonly #random
  readonly #redis: Connection
  readonly #raw: Redis
  readonly #orders
  readonly #mirror
  readonly #ends = new Map<string, 'too-late' | 'already-cancelled'>()
  #passedMs = 0
  #number = 0
  readonly waiting = new Map<string, { readonly due: number; readonly number: number }>()
  readonly came: number[] = []

  constructor(seed: number, redis: Connection, raw: Redis) {
    this.#random = numbers(seed)
    this.#redis = redis
    this.#raw = raw
    const options = { redis, maxLength: Infinity, maxEntryBytes: MAX_ENTRY_BYTES }
    this.#orders = createPublisher({ stream: 'orders', ...options })
    this.#mirror = createPublisher({ stream: 'mirror', ...options })
  }

  #text(): string {
    const [size, fill] = [this.#random.pick(SIZES), this.#random.pick(FILLS)]
    return fill.repeat(Math.ceil(size / Buffer.byteLength(fill)))
  }

  async delay(): Promise<void> {
    const { below, pick } = this.#random
    const [eventId, text] = [pick(IDS), this.#text()]
    this.#number += 1
    const notes = [{ a: text }, { a: this.#text(), b: this.#text() }, { a: JSON.stringify(text) }, {}, { a: eventId }]
    const attributes = { number: `${this.#number}`, ...pick(notes) }
    const payload = below(8) === 0 ? eventId : text
    const options = { eventId, attributes, occurredAt: new Date(below(2_000_000_000) * 1_000 + below(1_000)) }
    await this.#mirror.publish(Note, payload, options)
    const delayMs = (1 + below(400)) * MINUTE + below(1_000)
    const { deliverAt } = await this.#orders.publish(Note, payload, { ...options, delayMs })
    const due = deliverAt.getTime() + this.#passedMs
    const held = this.waiting.get(eventId)
    if (held) expect(due).toBe(held.due)
    else if (this.#ends.get(eventId) !== 'too-late') this.waiting.set(eventId, { due, number: this.#number })
  }

  async cancel(): Promise<void> {
    const eventId = this.#random.pick(IDS)
    const answer = this.waiting.delete(eventId) ? 'cancelled' : (this.#ends.get(eventId) ?? 'unknown')
    expect(await this.#orders.cancel(eventId)).toBe(answer)
    if (answer === 'cancelled') this.#ends.set(eventId, 'already-cancelled')
  }

  async pass(ms: number): Promise<void> {
    await passDelays(this.#raw, ms)
    this.#passedMs += ms
  }

  async promote(): Promise<void> {
    const { promoted, unreadable, refusals, nowMs } = await promoteDelays().promote({
      redis: this.#redis,
      stream: 'orders',
    })
    expect([unreadable, refusals]).toEqual([0, []])
    // at most a page, in due order, and none that is not due
    const dues = [...this.waiting].sort(([, a], [, b]) => a.due - b.due).slice(0, promoted)
    expect(dues).toHaveLength(promoted)
    for (const [eventId, { due, number }] of dues) {
      expect(due - this.#passedMs).toBeLessThanOrEqual(nowMs)
      this.waiting.delete(eventId)
      this.#ends.set(eventId, 'too-late')
      this.came.push(number)
    }
  }

  async step(): Promise<void> {
    const kind = this.#random.below(20)
    if (kind < 10) await this.delay()
    else if (kind < 14) await this.cancel()
    else if (kind < 15) await this.pass(this.#random.below(60) * MINUTE)
    else if (kind < 16) await this.promote()
    else if (kind < 17) await this.#raw.script('FLUSH')
    else expect(await countDelayed(this.#raw)).toBe(this.waiting.size)
  }
}

it.each([1, 2, 3, 4])('values of every size come once, as they were published: random calls %i', async (seed) => {
  const { redis, scenario } = await delayOverTcp()
  const { raw } = scenario
  const model = new Model(seed * 7_919, redis, raw)
  for (let step = 0; step < 300; step += 1) await model.step()
  await model.pass(1_000 * MINUTE)
  while (model.waiting.size > 0) await model.promote()

  const [orders, mirror] = [await entriesByNumber(raw, 'orders'), await entriesByNumber(raw, 'mirror')]
  expect([...orders.keys()]).toEqual(model.came)
  expect(model.came.filter((number) => orders.get(number) !== mirror.get(number))).toEqual([])
  expect(model.came.length).toBeGreaterThan(20)
  expect(await raw.exists(DELAYED, `${DELAYED}:events`, `${DELAYED}:next`)).toBe(0)
})
