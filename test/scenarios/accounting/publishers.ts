import type { Connection, Observer, Publication } from 'millrace'
import { createPublisher, PublishFailedError } from 'millrace'
import type { Random } from '../../../demo/random.ts'
import type { Scenario } from '../../support/scenario.ts'
import type { Publishing } from './books.ts'
import type { Fate } from './fates.ts'
import { orderOf } from './fates.ts'
import { OrderPaid, OrderShipped, Unrouted } from './journal.ts'
import { STREAM } from './server-view.ts'

interface PublishersOptions {
  readonly observe: readonly Observer[]
  readonly maxEntryBytes: number
  /** Some events are published more than once. */
  readonly once: boolean
}

/** Publish orders, and note what they got. */
export class Publishers {
  readonly publishings: Publishing[] = []
  readonly foreign: string[] = []
  readonly #scenario: Scenario
  readonly #random: Random
  readonly #options: PublishersOptions
  /** Events that are published again with the next mix. */
  #later: Publication[] = []
  #serial = 0

  constructor(scenario: Scenario, random: Random, options: PublishersOptions) {
    this.#scenario = scenario
    this.#random = random
    this.#options = options
  }

  /** Publishes an order of each of these fates, some to be shipped, and repeats some. Answers the entry ids of the first ones. */
  async publish(
    fates: readonly (Fate | readonly [Fate, number])[],
    redis?: Connection,
  ): Promise<(string | undefined)[]> {
    const publications = fates.map((fate): Publication => {
      const [name, times] = typeof fate === 'string' ? [fate, 1] : fate
      const isShipped = !PAID.has(name) && this.#random.integer(0, 3) === 0
      return [isShipped ? OrderShipped : OrderPaid, { orderId: orderOf(name, times) }, { eventId: this.#nextId() }]
    })
    const [together, apart] = this.#repeat(publications)
    const ids = await this.publishEvents([...publications, ...together], redis)
    if (apart.length > 0) await this.publishEvents(apart)
    return ids.slice(0, publications.length)
  }

  /** Which of these are repeated in the same request, and which in another one; some more are later. */
  #repeat(publications: readonly Publication[]): [together: Publication[], apart: Publication[]] {
    const [together, apart]: [Publication[], Publication[]] = [[], []]
    if (!this.#options.once) return [together, apart]
    for (const publication of publications)
      for (const repeats of [together, apart, this.#later])
        if (this.#random.integer(0, 7) === 0) repeats.push(publication)
    return [together, apart]
  }

  #nextId(): string {
    return `event-${++this.#serial}`
  }

  /** Publishes orders that are paid and fine, as many as that, and repeats the first one later. */
  async publishPaid(count: number): Promise<{ entryId: string; orderId: string; eventId: string }[]> {
    const orders = Array.from({ length: count }, () => ({ orderId: orderOf('fine'), eventId: this.#nextId() }))
    const publications = orders.map(({ orderId, eventId }): Publication => [OrderPaid, { orderId }, { eventId }])
    const ids = await this.publishEvents(publications)
    if (this.#options.once) this.#later.push(...publications.slice(0, 1))
    return orders.map((order, n) => ({ ...order, entryId: ids[n] as string }))
  }

  /** Repeats those that wait for it. */
  async publishLater(): Promise<void> {
    const later = this.#later.splice(0)
    if (later.length > 0) await this.publishEvents(later)
  }

  /** Publishes something of everything. */
  async publishMix(count: number): Promise<void> {
    await this.publishLater()
    await this.publish(Array.from({ length: count }, () => this.#random.pick(MIX)))
    await this.publishEvents([[Unrouted, { orderId: orderOf('fine') }, { eventId: this.#nextId() }]])
    await this.append('what', 'ever')
    await this.append('eventType', 'OrderPaid', 'payload', '{"orderId":1}')
    await this.append(
      'eventType',
      'OrderPaid',
      'payload',
      JSON.stringify({ orderId: 'x'.repeat(this.#options.maxEntryBytes) }),
    )
  }

  /** Publishes in one call. A failure is noted, and what was written all the same. */
  async publishEvents(publications: readonly Publication[], redis?: Connection): Promise<(string | undefined)[]> {
    const { observe } = this.#options
    const publisher = createPublisher({ stream: STREAM, redis: redis ?? this.#scenario.redis, observe })
    const types = publications.map(([{ type }]) => type)
    const eventIds = publications.map(([, , options]) => options?.eventId ?? '')
    let entryIds: readonly (string | undefined)[] = types.map(() => undefined)
    try {
      entryIds = (await publisher.publishMany(publications as [])).map(({ entryId }) => entryId)
    } catch (error) {
      if (error instanceof PublishFailedError) entryIds = error.entryIds
    }
    this.publishings.push({ types, eventIds, entryIds, isCut: redis !== undefined })
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
