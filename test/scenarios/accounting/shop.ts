import { Metrics } from '@aws-lambda-powertools/metrics'
import type { Redis } from 'ioredis'
import type { Connection, Consumer, Observed, ObservedRun, Observer, Report } from 'millrace'
import { defineConsumer, InvocationFailedError, idempotent, on, onBatch, orderedBy, poll } from 'millrace'
import { reportMetrics } from 'millrace/powertools'
import type { Random } from '../../../demo/random.ts'
import { createRandom } from '../../../demo/random.ts'
import { claimOnce } from '../../support/claim-once.ts'
import type { FaultProxy } from '../../support/fault-proxy.ts'
import { startFaultProxy } from '../../support/fault-proxy.ts'
import { captureOutput } from '../../support/metric-lines.ts'
import type { Scenario } from '../../support/scenario.ts'
import { startScenario } from '../../support/scenario.ts'
import type {
  Books,
  BooksOptions,
  Invocation,
  LostGroup,
  Measurement,
  Operated,
  Told,
  Trimmed,
  Trouble,
} from './books.ts'
import { Journal, OrderPaid, OrderShipped } from './journal.ts'
import { keyOf } from './ordering.ts'
import { Publishers } from './publishers.ts'
import type { GroupName } from './server-view.ts'
import { GROUPS, ServerView, STREAM } from './server-view.ts'

export const SETTINGS = {
  batchSize: 20,
  concurrency: 4,
  handlerTimeoutMs: 1_500,
  maxDeliveries: 4,
  backoff: { firstMs: 100 },
  maxEntryBytes: 2_000,
  maxPollers: 3,
} as const

/** For how long it is known what was handled, where anything is. */
export const TTL_MS = 86_400_000

const NAMESPACE = 'Millrace'
const SERVICE = 'shop'
/** One of the groups has so few slots that pollers find none. */
const FEW_SLOTS = 1

const TOLD = Object.keys({
  invocationStarted: true,
  invocationEnded: true,
  entriesRead: true,
  entriesClaimed: true,
  handlerEnded: true,
  effectsRefused: true,
  acked: true,
  deadLettered: true,
  deadLetterRefused: true,
  deadLetterNoticeFailed: true,
  published: true,
  janitorEnded: true,
} satisfies Record<keyof Observed, true>) as (keyof Observed)[]

/** How a run differs from a plain one. */
export interface RunHow {
  readonly redis?: Connection
  readonly remainingMs?: number
  /** What is done to it; may be added to while it runs. */
  readonly troubles?: Set<Trouble>
}

/** Handlers that enter it wait until it is opened. */
export interface Gate {
  /** Resolves when so many are within. */
  readonly entered: Promise<void>
  open(): void
}

/** A stream, two groups on it, and the books that everybody keeps. What is done to them is in rounds.ts. */
export class Shop {
  /** Consumers are `idempotent`. */
  readonly once: boolean
  readonly ordered: readonly GroupName[]
  readonly random: Random
  readonly scenario: Scenario
  readonly server: ServerView
  readonly consumers: Readonly<Record<GroupName, Consumer>>
  readonly journal: Journal
  readonly publishers: Publishers
  readonly trimmed: Trimmed[] = []
  readonly lostGroups: LostGroup[] = []
  readonly operated: Operated[] = []
  readonly measurements: Measurement[] = []
  readonly killed: string[] = []
  readonly written: string[]
  readonly #invocations: Invocation[] = []
  readonly #told: Told[] = []
  readonly #notices = { search: { called: 0, failed: 0 } }
  readonly #lives = new Map<string, number>()
  /** In which life of an entry an invocation took it. */
  readonly #taken = new Map<string, string>()
  readonly #mended = new Set<string>()
  readonly #trimmedIds = new Map<string, string>()
  readonly #metrics: Observer
  #gate: { enter(): Promise<void> } | undefined
  #runs = 0

  private constructor(scenario: Scenario, seed: number, { once = false, ordered = false }: BooksOptions) {
    this.once = once
    this.ordered = ordered ? ['search'] : []
    this.scenario = scenario
    this.random = createRandom(seed)
    this.#metrics = reportMetrics(new Metrics({ namespace: NAMESPACE, serviceName: SERVICE }))
    this.journal = new Journal({
      lifeOf: (requestId, group, entryId) =>
        this.#taken.get(`${requestId} ${group} ${entryId}`) ?? this.lifeOf(group, entryId),
      isMended: (entryId) => this.#mended.has(entryId),
      enterGate: async () => this.#gate?.enter(),
    })
    const { paid, shipped } = this.journal
    const use = once ? [idempotent({ ttlMs: TTL_MS })] : []
    this.consumers = {
      billing: defineConsumer({
        stream: STREAM,
        group: 'billing',
        routes: [on(OrderPaid, paid), onBatch(OrderShipped, shipped, { maxEvents: 5, maxBatchingWindowMs: 30 })],
        use,
        ...SETTINGS,
      }),
      search: defineConsumer({
        stream: STREAM,
        group: 'search',
        // an event that was called behind one which failed in its batch comes again at the same delivery: nobody could say which
        routes: [on(OrderPaid, paid), ordered ? on(OrderShipped, paid as never) : onBatch(OrderShipped, shipped)],
        onDeadLetter: async () => {
          const noted = this.#notices.search
          if (++noted.called % 3 > 0) return
          noted.failed++
          throw new Error('no mail')
        },
        use: ordered ? [orderedBy(({ eventId }) => keyOf(eventId ?? '')), ...use] : use,
        ...SETTINGS,
        maxPollers: FEW_SLOTS,
      }),
    }
    this.server = new ServerView(scenario, this.consumers)
    const observe = [this.#metrics, this.observer]
    this.publishers = new Publishers(scenario, this.random, { observe, maxEntryBytes: SETTINGS.maxEntryBytes, once })
    this.written = captureOutput()
  }

  static async open(seed: number, options: BooksOptions): Promise<Shop> {
    return new Shop(await startScenario(), seed, options)
  }

  get raw(): Redis {
    return this.scenario.raw
  }

  get observer(): Observer {
    const listeners = TOLD.map((name) => [name, (observed: never) => this.#note({ name, observed } as never)])
    return Object.fromEntries(listeners) as Observer
  }

  /** Runs a poller or a claimer of these groups. A failure is noted. */
  async run(action: Report['action'], groups: readonly GroupName[] = GROUPS, how: RunHow = {}): Promise<Report> {
    const { redis = this.scenario.redis, remainingMs = 20_000, troubles = new Set() } = how
    const requestId = this.requestId(action)
    const consumers = groups.map((group) => this.consumers[group])
    const context = { awsRequestId: requestId }
    const options = { redis, remainingMs, context, observe: [this.#metrics, this.observer] }
    const { report, failedFor } = await { poll, claim: claimOnce }[action](consumers, options).then(
      (ended) => ({ report: ended, failedFor: [] }),
      (error) => {
        if (!(error instanceof InvocationFailedError)) throw error
        return { report: error.report, failedFor: error.failures.map(({ group }) => group) }
      },
    )
    this.#invocations.push({ requestId, action, troubles, report, failedFor })
    return report
  }

  requestId(what: string): string {
    return `${what}-${++this.#runs}`
  }

  /** From now on handlers that enter the gate wait. @param count How many have to be within until it is entered. */
  closeGate(count: number): Gate {
    const entered = Promise.withResolvers<void>()
    const opened = Promise.withResolvers<void>()
    let within = 0
    this.#gate = {
      enter() {
        if (++within === count) entered.resolve()
        return opened.promise
      },
    }
    return {
      entered: entered.promise,
      open: () => {
        this.#gate = undefined
        opened.resolve()
      },
    }
  }

  /** A connection through a proxy of its own. */
  async startProxy(): Promise<{ proxy: FaultProxy; redis: Connection }> {
    const proxy = await startFaultProxy(this.scenario.server)
    return { proxy, redis: this.scenario.connect(proxy.url) }
  }

  /** Lets so much time pass that everything pending is due. */
  async later(groups: readonly GroupName[] = GROUPS): Promise<void> {
    await this.makeDue(groups)
    for (const group of groups) await this.scenario.age(60_000, group)
  }

  /** Has all that was set aside until some time be due. */
  async makeDue(groups: readonly GroupName[]): Promise<void> {
    for (const group of groups) {
      const { due } = this.consumers[group].keys
      for (const entryId of await this.raw.zrange(due, '0', '-1')) await this.raw.zadd(due, 0, entryId)
    }
  }

  /** Lets the leases of those who died end. Only while nobody runs. */
  async freeSlots(): Promise<void> {
    for (const group of GROUPS)
      for (const name of ['poller-0', 'poller-1', 'poller-2', 'claimer-0', 'claimer-1'])
        await this.raw.del(this.consumers[group].keys.slot(name))
  }

  /** Runs laps until nothing is left to do. */
  async settleAll(): Promise<void> {
    for (let laps = 0; laps < 40; laps++) {
      await this.freeSlots()
      await this.later()
      await this.run('claim')
      await this.run('poll')
      if ((await Promise.all(GROUPS.map((group) => this.server.isSettled(group)))).every(Boolean)) return
    }
    throw new Error('Cannot settle what is pending: 40 laps were not enough')
  }

  /** Takes entries out of the stream. */
  async trim(entryIds: readonly string[]): Promise<void> {
    for (const entryId of entryIds) {
      const pendingIn: string[] = []
      const unreadIn: string[] = []
      for (const group of GROUPS) {
        if ((await this.server.pending(group)).includes(entryId)) pendingIn.push(group)
        if ((await this.server.unread(group)).includes(entryId)) unreadIn.push(group)
      }
      this.trimmed.push({ entryId, pendingIn, unreadIn })
      for (const [id, eventId] of await this.server.eventIds(entryId, entryId)) this.#trimmedIds.set(id, eventId)
      await this.raw.xdel(STREAM, entryId)
    }
  }

  /** Its deliveries count anew from now on. @param entryId Default: those of all entries. */
  beginLife(group: string, entryId = ''): void {
    const key = `${group} ${entryId}`
    this.#lives.set(key, (this.#lives.get(key) ?? 0) + 1)
  }

  lifeOf(group: string, entryId: string): string {
    const [lost = 0, redriven = 0] = [this.#lives.get(`${group} `), this.#lives.get(`${group} ${entryId}`)]
    return `${lost}.${redriven}`
  }

  /** What is wrong with an entry is fixed. */
  mend(entryId: string): void {
    this.#mended.add(entryId)
  }

  /** Everything that was written down; nothing runs any more. */
  async close(): Promise<Books> {
    const holdings: Record<string, Books['holdings'][string]> = {}
    for (const group of GROUPS) {
      holdings[group] = {
        pending: await this.server.pending(group),
        lastDeliveredId: String((await this.server.info(group))['last-delivered-id']),
        letters: await this.server.letters(group),
      }
    }
    return {
      once: this.once,
      ordered: this.ordered,
      groups: GROUPS,
      maxDeliveries: SETTINGS.maxDeliveries,
      service: SERVICE,
      publishings: this.publishers.publishings,
      foreign: this.publishers.foreign,
      invocations: this.#invocations,
      killed: this.killed,
      visits: this.journal.visits,
      told: this.#told,
      notices: this.#notices,
      lines: this.written.filter((line) => line.startsWith('{"_aws"')),
      trimmed: this.trimmed,
      lostGroups: this.lostGroups,
      operated: this.operated,
      measurements: this.measurements,
      stream: await this.server.idsBetween('-', '+'),
      eventIds: new Map([...this.#trimmedIds, ...(await this.server.eventIds('-', '+'))]),
      holdings,
    }
  }

  #note(told: Omit<Told, 'life'>): void {
    const { notice } = told.observed as Partial<Observed['deadLettered']>
    const life = notice ? this.lifeOf(notice.group, notice.entryId) : ''
    const noted = { ...told, life } as Told
    this.#told.push(noted)
    if (noted.name === 'entriesRead') this.#take(noted.observed, noted.observed.entryIds)
    if (noted.name === 'entriesClaimed')
      this.#take(
        noted.observed,
        noted.observed.entries.map(({ entryId }) => entryId),
      )
  }

  #take({ invocation, group }: ObservedRun, entryIds: readonly string[]): void {
    for (const entryId of entryIds)
      this.#taken.set(`${invocation.context.awsRequestId} ${group} ${entryId}`, this.lifeOf(group, entryId))
  }
}
