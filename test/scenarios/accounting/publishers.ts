import type { Connection, Observer, Publication } from 'millrace'
import { createPublisher, PublishFailedError } from 'millrace'
import type { Random } from '../../../demo/random.ts'
import type { Scenario } from '../../support/scenario.ts'
import type { Publishing } from './books.ts'
import type { Fate } from './fates.ts'
import { orderOf } from './fates.ts'
import { OrderPaid, OrderShipped, Unrouted } from './journal.ts'
import { STREAM } from './server-view.ts'

/** Publish orders, and note what they got. */
export class Publishers {
  readonly publishings: Publishing[] = []
  readonly foreign: string[] = []
  readonly #scenario: Scenario
  readonly #random: Random
  readonly #observe: readonly Observer[]
  readonly #maxEntryBytes: number

  constructor(scenario: Scenario, random: Random, observe: readonly Observer[], maxEntryBytes: number) {
    this.#scenario = scenario
    this.#random = random
    this.#observe = observe
    this.#maxEntryBytes = maxEntryBytes
  }

  /** Publishes an order of each of these fates, some to be shipped. Answers their entry ids. */
  async publish(
    fates: readonly (Fate | readonly [Fate, number])[],
    redis?: Connection,
  ): Promise<(string | undefined)[]> {
    const publications = fates.map((fate): Publication => {
      const [name, times] = typeof fate === 'string' ? [fate, 1] : fate
      const isShipped = !PAID.has(name) && this.#random.integer(0, 3) === 0
      return [isShipped ? OrderShipped : OrderPaid, { orderId: orderOf(name, times) }]
    })
    return this.publishEvents(publications, redis)
  }

  /** Publishes orders that are paid and fine, as many as that. Answers entry id and order id of each. */
  async publishPaid(count: number): Promise<[entryId: string, orderId: string][]> {
    const orderIds = Array.from({ length: count }, () => orderOf('fine'))
    const ids = await this.publishEvents(orderIds.map((orderId) => [OrderPaid, { orderId }]))
    return orderIds.map((orderId, n) => [ids[n] as string, orderId])
  }

  /** Publishes something of everything. */
  async publishMix(count: number): Promise<void> {
    await this.publish(Array.from({ length: count }, () => this.#random.pick(MIX)))
    await this.publishEvents([[Unrouted, { orderId: orderOf('fine') }]])
    await this.append('what', 'ever')
    await this.append('eventType', 'OrderPaid', 'payload', '{"orderId":1}')
    await this.append('eventType', 'OrderPaid', 'payload', JSON.stringify({ orderId: 'x'.repeat(this.#maxEntryBytes) }))
  }

  /** Publishes in one call. A failure is noted, and what was written all the same. */
  async publishEvents(publications: readonly Publication[], redis?: Connection): Promise<(string | undefined)[]> {
    const publisher = createPublisher({ stream: STREAM, redis: redis ?? this.#scenario.redis, observe: this.#observe })
    const types = publications.map(([{ type }]) => type)
    let entryIds: readonly (string | undefined)[] = types.map(() => undefined)
    try {
      entryIds = (await publisher.publishMany(publications as [])).map(({ entryId }) => entryId)
    } catch (error) {
      if (error instanceof PublishFailedError) entryIds = error.entryIds
    }
    this.publishings.push({ types, entryIds, isCut: redis !== undefined })
    return [...entryIds]
  }

  /** Appends what is no event of a publisher. */
  async append(...fields: readonly string[]): Promise<void> {
    this.foreign.push(String(await this.#scenario.raw.xadd(STREAM, '*', ...fields)))
  }
}

/** Orders that are always paid: each is a call of its own. */
const PAID: ReadonlySet<Fate> = new Set<Fate>(['waits', 'breaks', 'sulks'])

/** What a mix is drawn from: nothing that takes all its time. */
const MIX: readonly (Fate | readonly [Fate, number])[] = [
  'fine',
  'fine',
  'fine',
  'slow',
  'fails',
  ['fails', 2],
  'never',
  'hopeless',
  'later',
  ['later', 2],
  'explodes',
  'lies',
]
