import * as fc from 'fast-check'
import type { BatchEvent, Consumer, Route } from 'millrace'
import { NonRetryableError, on, onBatch, orderedBy } from 'millrace'
import { describe, expect, test } from 'vitest'
import type { World } from '../policies/world.ts'
import { billing, Paid, Shipped, WORLDS } from '../policies/world.ts'

/** How an event fails before it succeeds: so often, never again, or without end; by itself, or with its whole call. */
interface Trouble {
  readonly times: number
  readonly how: 'named' | 'throws' | 'never'
}

interface Plan {
  /** A key, whether it is of the second type, and what is wrong with it. */
  readonly events: readonly {
    readonly key: string
    readonly isSecond: boolean
    readonly trouble: Trouble | undefined
  }[]
  readonly options: { batchSize: number; concurrency: number; maxDeliveries: number; mode: 'drain' | 'once' }
  readonly batch: { maxEvents: number; maxBatchingWindowMs: number; bisectOnError: boolean; maxBytes: number }
  readonly second: 'on' | 'onBatch'
  readonly scope: 'key' | 'checkpoint'
  /** Events published before the first poll. */
  readonly early: number
  /** Turns that calls take, one after the other. */
  readonly turns: readonly number[]
}

const trouble = fc.record({
  times: fc.constantFrom(1, 2, 99),
  how: fc.constantFrom<Trouble['how']>('named', 'throws', 'never'),
})

const plans: fc.Arbitrary<Plan> = fc.record({
  events: fc.array(
    fc.record({
      key: fc.constantFrom('a', 'b', 'c', 'd', ''),
      isSecond: fc.boolean(),
      trouble: fc.option(trouble, { nil: undefined, freq: 3 }),
    }),
    { minLength: 1, maxLength: 24 },
  ),
  options: fc.record({
    batchSize: fc.integer({ min: 1, max: 12 }),
    concurrency: fc.integer({ min: 1, max: 5 }),
    maxDeliveries: fc.integer({ min: 2, max: 3 }),
    mode: fc.constantFrom<'drain' | 'once'>('drain', 'once'),
  }),
  batch: fc.record({
    maxEvents: fc.integer({ min: 1, max: 8 }),
    maxBatchingWindowMs: fc.constantFrom(0, 0, 3),
    bisectOnError: fc.boolean(),
    maxBytes: fc.constantFrom(4_000, 600, 1),
  }),
  second: fc.constantFrom<'on' | 'onBatch'>('on', 'onBatch'),
  scope: fc.constantFrom<'key' | 'checkpoint'>('key', 'checkpoint'),
  early: fc.integer({ min: 0, max: 24 }),
  turns: fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 8 }),
})

interface Called {
  readonly payload: { readonly id: string }
  readonly entryId: string
  readonly deliveryCount: number
}

/** Handlers that fail as planned, and note what is out of order: what starts while one before it of its key is undone, unless in the same call; what overlaps; a wrong count. */
class Account {
  readonly violations: string[] = []
  readonly undone: Set<string>
  readonly #plan: Plan
  readonly #ids: readonly string[]
  readonly #open = new Set<string>()
  readonly #failed = new Map<string, number>()
  #calls = 0

  constructor(plan: Plan) {
    this.#plan = plan
    // Shipped begins with s
    this.#ids = plan.events.map(({ key, isSecond }, n) => `${isSecond ? 's' : ''}${key}-${n}`)
    this.undone = new Set(this.#ids)
  }

  get ids(): readonly string[] {
    return this.#ids
  }

  readonly one = async (event: Pick<Called, 'payload'>, context: Omit<Called, 'payload'>): Promise<void> => {
    const { entryId, deliveryCount } = context
    const [failed] = await this.#call([{ payload: event.payload, entryId, deliveryCount }])
    if (failed) throw failed.error
  }

  readonly many = async (events: readonly BatchEvent[]) => {
    const failures = await this.#call(events as unknown as readonly Called[])
    return { batchItemFailures: failures.map(({ entryId, error }) => ({ itemIdentifier: entryId, error })) }
  }

  async #call(events: readonly Called[]) {
    this.#start(events)
    const { turns } = this.#plan
    for (let turn = turns[this.#calls++ % turns.length] ?? 0; turn > 0; turn--) await new Promise(setImmediate)
    for (const { payload } of events) this.#open.delete(payload.id)
    const wrong = events.filter(({ payload }) => this.#isFailing(payload.id))
    const isThrown = wrong.some(({ payload }) => this.#troubleOf(payload.id)?.how === 'throws')
    const failed = isThrown ? events : wrong
    const counted = this.#settled(events, failed, isThrown)
    if (isThrown) throw new Error(`down for ${counted.length}`)
    return failed.map(({ entryId, payload }) => ({ entryId, error: this.#errorOf(payload.id) }))
  }

  #start(events: readonly Called[]): void {
    const ids = events.map(({ payload }) => payload.id)
    for (const [n, { payload, deliveryCount }] of events.entries()) {
      const { id } = payload
      const expected = 1 + (this.#failed.get(id) ?? 0)
      if (!this.undone.has(id)) this.violations.push(`${id} starts again`)
      if (deliveryCount !== expected) this.violations.push(`${id} is at ${deliveryCount}, not ${expected}`)
      for (const before of this.#before(id))
        if (this.undone.has(before) && !ids.slice(0, n).includes(before))
          this.violations.push(`${id} starts before ${before}`)
      for (const other of this.#open)
        if (keyOf(id) !== '' && keyOf(other) === keyOf(id)) this.violations.push(`${id} overlaps with ${other}`)
    }
    for (const id of ids) this.#open.add(id)
  }

  /** What has happened to the events of a call. @returns Ids of those of which the failure counts. */
  #settled(events: readonly Called[], failed: readonly Called[], isThrown: boolean): readonly string[] {
    const counted: string[] = []
    const stopped = new Set<string>()
    for (const event of events) {
      const { id } = event.payload
      const scope = this.#plan.scope === 'checkpoint' && this.#isBatch(id) ? 'all' : keyOf(id)
      if (scope !== '' && stopped.has(scope)) continue
      if (!failed.includes(event)) {
        this.undone.delete(id)
        continue
      }
      stopped.add(scope)
      counted.push(id)
      this.#failed.set(id, (this.#failed.get(id) ?? 0) + 1)
      const isNever = !isThrown && this.#troubleOf(id)?.how === 'never'
      if (isNever || event.deliveryCount >= this.#plan.options.maxDeliveries) this.undone.delete(id)
    }
    return counted
  }

  #isBatch(id: string): boolean {
    return !id.startsWith('s') || this.#plan.second === 'onBatch'
  }

  #isFailing(id: string): boolean {
    return (this.#failed.get(id) ?? 0) < (this.#troubleOf(id)?.times ?? 0)
  }

  #errorOf(id: string): Error {
    return this.#troubleOf(id)?.how === 'never' ? new NonRetryableError('never') : new Error('once')
  }

  #troubleOf(id: string): Trouble | undefined {
    return this.#plan.events[this.#ids.indexOf(id)]?.trouble
  }

  #before(id: string): readonly string[] {
    if (keyOf(id) === '') return []
    return this.#ids.slice(0, this.#ids.indexOf(id)).filter((other) => keyOf(other) === keyOf(id))
  }
}

function keyOf(id: string): string {
  return id.replace(/^s/, '').replace(/-\d+$/, '')
}

function consumerOf({ options, batch, second, scope }: Plan, account: Account): Consumer {
  const asBatch = (event: typeof Paid | typeof Shipped): Route => onBatch(event, account.many as never, batch)
  const order = orderedBy(({ eventId = '' }) => keyOf(eventId) || undefined, { afterBatchItemFailure: scope })
  const routes = [asBatch(Paid), second === 'on' ? on(Shipped, account.one as never) : asBatch(Shipped)]
  return billing(() => {}, { ...options, routes, use: [order] })
}

async function play(world: World, plan: Plan): Promise<void> {
  const account = new Account(plan)
  const consumer = consumerOf(plan, account)
  await world.publish(...account.ids.slice(0, plan.early))
  await world.poll(consumer)
  await world.publish(...account.ids.slice(plan.early))
  for (let round = 0; round < 80 && account.undone.size > 0; round++) {
    await world.poll(consumer)
    await world.claim(consumer)
  }
  // what was taken for a dead letter or a success is one
  await world.poll(consumer)
  expect(account.violations).toEqual([])
  expect([[...account.undone], await world.pending()]).toEqual([[], []])
}

describe.each([
  ['memory', 60],
  ['TCP', 30],
  ['REST', 12],
] as const)('batch routes and others of one consumer, %s', (where, runs) => {
  const numRuns = Number(process.env.MILLRACE_ORDERED_BATCHES_RUNS ?? runs)

  test('keep the order of each key, whatever fails', { timeout: 600_000 }, async () => {
    const start = WORLDS[where] as () => Promise<World>
    const shared = where === 'memory' ? undefined : await start()
    const property = fc.asyncProperty(plans, async (plan) => {
      await shared?.command('FLUSHALL')
      await play(shared ?? (await start()), plan)
    })
    await fc.assert(property, { numRuns, endOnFailure: false })
  })
})
