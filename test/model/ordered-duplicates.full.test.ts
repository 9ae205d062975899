import * as fc from 'fast-check'
import { idempotent, NonRetryableError, on, onBatch, orderedBy } from 'millrace'
import { describe, expect, test } from 'vitest'
import type { World } from '../policies/world.ts'
import { billing, Paid, Shipped, WORLDS } from '../policies/world.ts'

interface Plan {
  /** A key, which event it is, its type, and how often it fails. */
  readonly events: readonly { key: string; name: string; isSecond: boolean; failures: number; isNever: boolean }[]
  readonly options: { batchSize: number; concurrency: number; maxDeliveries: number; mode: 'drain' | 'once' }
  readonly isBatch: boolean
  readonly early: number
  /** The server forgets its scripts before that round. */
  readonly forgetsAt: number
  readonly turns: readonly number[]
}

const plans: fc.Arbitrary<Plan> = fc.record({
  events: fc.array(
    fc.record({
      key: fc.constantFrom('a', 'b', 'c', ''),
      name: fc.constantFrom('p', 'q', 'r', 'v', 'w', 'x'),
      isSecond: fc.boolean(),
      failures: fc.constantFrom(0, 0, 0, 1, 2, 99),
      isNever: fc.boolean(),
    }),
    { minLength: 2, maxLength: 18 },
  ),
  options: fc.record({
    batchSize: fc.integer({ min: 1, max: 12 }),
    concurrency: fc.integer({ min: 1, max: 5 }),
    maxDeliveries: fc.constant(2),
    mode: fc.constantFrom<'drain' | 'once'>('once', 'once', 'drain'),
  }),
  isBatch: fc.boolean(),
  early: fc.integer({ min: 0, max: 18 }),
  forgetsAt: fc.integer({ min: 0, max: 6 }),
  turns: fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 8 }),
})

interface Called {
  readonly id: string
  readonly deliveryCount: number
}

/** Handlers that note what is out of order, and what is handled twice. */
class Account {
  readonly violations: string[] = []
  readonly ids: readonly string[]
  readonly #plan: Plan
  readonly #dead = new Set<string>()
  readonly #handled = new Map<string, string>()
  readonly #open = new Map<string, string>()
  readonly #failed = new Map<string, number>()
  #calls = 0

  constructor(plan: Plan) {
    this.#plan = plan
    // Shipped begins with s
    this.ids = plan.events.map(({ key, name, isSecond }, n) => `${isSecond ? 's' : ''}${key}-${n}/${name}`)
  }

  /** Events of which no entry was handled, nor are all of them dead letters. */
  get undone(): readonly string[] {
    return this.ids.map(idOf).filter((id) => !this.#isDone(id))
  }

  /** @returns Those that failed, and with what. */
  async call(events: readonly Called[]): Promise<ReadonlyMap<string, Error>> {
    for (const [n, { id }] of events.entries()) this.#start(id, events.slice(0, n))
    const { turns } = this.#plan
    for (let turn = turns[this.#calls++ % turns.length] ?? 0; turn > 0; turn--) await new Promise(setImmediate)
    const failures = new Map<string, Error>()
    const stopped = new Set<string>()
    for (const { id, deliveryCount } of events) {
      this.#open.delete(this.#nameOf(id))
      if (keyOf(id) !== '' && stopped.has(keyOf(id))) continue
      const error = this.#fail(id, deliveryCount)
      if (error) {
        failures.set(id, error)
        stopped.add(keyOf(id))
      } else this.#handled.set(this.#nameOf(id), id)
    }
    return failures
  }

  #start(id: string, together: readonly Called[]): void {
    const name = this.#nameOf(id)
    const before = this.ids.map(idOf).slice(0, this.#indexOf(id))
    const early = before.find(
      (other) =>
        keyOf(id) !== '' &&
        keyOf(other) === keyOf(id) &&
        !this.#isDone(other) &&
        !together.some((one) => one.id === other),
    )
    if (early) this.violations.push(`${id} starts before ${early}`)
    if (this.#handled.has(name)) this.violations.push(`${id} is ${name}, which ${this.#handled.get(name)} has handled`)
    if (this.#open.has(name)) this.violations.push(`${id} overlaps with ${this.#open.get(name)}`)
    if (this.#dead.has(id)) this.violations.push(`${id} is a dead letter`)
    this.#open.set(name, id)
  }

  #fail(id: string, deliveryCount: number): Error | undefined {
    const { failures = 0, isNever = false } = this.#plan.events[this.#indexOf(id)] ?? {}
    const failed = this.#failed.get(id) ?? 0
    if (failed >= failures) return undefined
    this.#failed.set(id, failed + 1)
    const isLast = deliveryCount >= this.#plan.options.maxDeliveries
    if (isNever || isLast) this.#dead.add(id)
    return isNever ? new NonRetryableError('never') : new Error('once')
  }

  #isDone(id: string): boolean {
    return this.#dead.has(id) || this.#handled.has(this.#nameOf(id))
  }

  #indexOf(id: string): number {
    return this.ids.findIndex((one) => idOf(one) === id)
  }

  #nameOf(id: string): string {
    const { name = '', isSecond = false } = this.#plan.events[this.#indexOf(id)] ?? {}
    return `${isSecond ? 's' : ''}${name}`
  }
}

function idOf(text: string): string {
  return text.split('/')[0] as string
}

function keyOf(id: string): string {
  return id.replace(/^s/, '').replace(/-\d+$/, '')
}

type Payload = { id: string; key?: string | undefined }

function consumerOf({ options, isBatch }: Plan, account: Account) {
  const one = async ({ payload: { id } }: { payload: Payload }, context: { deliveryCount: number }) => {
    const [error] = (await account.call([{ id, deliveryCount: context.deliveryCount }])).values()
    if (error) throw error
  }
  const many = async (events: readonly { payload: Payload; deliveryCount: number; entryId: string }[]) => {
    const failures = await account.call(events.map(({ payload, deliveryCount }) => ({ id: payload.id, deliveryCount })))
    return {
      batchItemFailures: events
        .filter(({ payload }) => failures.has(payload.id))
        .map(({ entryId, payload }) => ({ itemIdentifier: entryId, error: failures.get(payload.id) })),
    }
  }
  return billing(() => {}, {
    ...options,
    routes: [isBatch ? onBatch(Paid, many) : on(Paid, one), on(Shipped, one)],
    use: [
      orderedBy(({ eventId = '' }) => keyOf(eventId) || undefined),
      idempotent({ ttlMs: 86_400_000, by: ({ payload }) => (payload as Payload).key }),
    ],
  })
}

async function play(world: World, plan: Plan, forgets: boolean): Promise<void> {
  const account = new Account(plan)
  const consumer = consumerOf(plan, account)
  await world.publish(...account.ids.slice(0, plan.early))
  await world.poll(consumer)
  await world.publish(...account.ids.slice(plan.early))
  let left = 1
  for (let round = 0; round < 60 && left > 0; round++) {
    if (forgets && round === plan.forgetsAt) await world.command('SCRIPT', 'FLUSH')
    await world.poll(consumer)
    await world.pass(15_000)
    await world.claim(consumer)
    left = (await world.pending()).length + account.undone.length
  }
  expect(account.violations).toEqual([])
  expect([account.undone, await world.pending()]).toEqual([[], []])
}

describe.each([
  ['memory', 60],
  ['TCP', 30],
  ['REST', 12],
] as const)('duplicates of a consumer in order, %s', (where, runs) => {
  const numRuns = Number(process.env.MILLRACE_ORDERED_DUPLICATES_RUNS ?? runs)

  test('are handled once, and hold up no key for good', { timeout: 600_000 }, async () => {
    const start = WORLDS[where] as () => Promise<World>
    const shared = where === 'memory' ? undefined : await start()
    const property = fc.asyncProperty(plans, async (plan) => {
      await shared?.command('FLUSHALL')
      await play(shared ?? (await start()), plan, shared !== undefined)
    })
    await fc.assert(property, { numRuns, endOnFailure: false })
  })
})
