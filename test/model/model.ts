import { compareEntryIds } from '../../src/core/entry.ts'
import { PARKED_CONSUMER } from '../../src/core/keys.ts'
import type { PollMode, Report } from '../../src/index.ts'
import { difference } from '../support/scenario.ts'
import { assert } from './assert.ts'
import { DelayModel } from './delay-model.ts'
import { DuplicateModel } from './duplicates.ts'
import {
  type Behaviour,
  eventOf,
  isNewer,
  type Method,
  type Order,
  type ProcessKind,
  type Row,
  type Sight,
} from './world.ts'

export const MIN_IDLE_MS = 60_000
/** What a real server's clock goes on by itself between two looks, at most. */
const DRIFT_MS = 4_000
/** What is lost of a real server's time as it is read and written in whole milliseconds. */
const ROUNDING_MS = 2
/** What is due is started within that time of a run that could start it. */
const PROMPT_MS = 2_000
/** Ids from here on are times. */
const FIRST_TIME = 1_000_000_000
/** What a handler needs before the deadline, and what a run that listens does not use. */
const HANDLER_MS = 10_000
const NEEDED_MS = HANDLER_MS + 1_000
const MARGIN_MS = 1_000

/** A published entry and what became of it. */
export interface Published extends Order {
  readonly id: string
  /** After how many commands it was trimmed. */
  trimmedAt: number | undefined
  /** What came of each call of its handler. */
  readonly results: Result[]
  letters: number
  /** When the wait after its last failure is over, by the clock of plans. */
  dueMs: number
  /** How far the server's clock had gone on by itself when that was said. */
  dueSaidAt: number
}

/** A call is `open` while it runs, and stays so if its process dies. */
export type Result = 'open' | 'succeeded' | 'failed' | 'refused' | 'timed out' | 'crashed'

/** When an entry was delivered: in which life of the group, after how many commands. */
interface Moment {
  readonly life: number
  readonly tick: number
}

/** What happened to one entry in one life of the group. */
interface Chapter {
  /** Delivery counts that its handler was called with. */
  readonly attempts: number[]
  letters: number
}

/** A process, the token of its lease, and what it has called. */
interface Actor {
  readonly name: string
  readonly token: string
  readonly isDead: boolean
  readonly isOver: boolean
  readonly wasFrozen: boolean
  /** Lives of the group before it started. */
  readonly bornIn: number
  readonly methods: readonly Method[]
  /** It does not know the newer version. */
  readonly isOlder: boolean
  /** After how many commands. */
  readonly startedAt: number
  readonly kind: ProcessKind
  readonly isFrozen: boolean
  /** When its time is up. */
  readonly deadline: number
  /** Handlers under way, those included that did not end in time. */
  readonly handlers: number
  /** Handlers within their time, and whether each has the last delivery. */
  readonly running: Map<Published, { readonly isLast: boolean }>
  /** Milliseconds that last deliveries took. */
  lastTookMs: number
  /** Since when it could have started what is due, as far as is known. */
  readySince?: number | undefined
  /** Since when it listens, and so promotes what is due. */
  listensSince?: number | undefined
  /** When the first was due of what it saw set aside as its last run ended. */
  sawDueAt?: number | undefined
}

/** A delivery that the server has counted. */
interface Given {
  readonly by: Actor
  /** The consumer name that it was delivered to. */
  readonly owner: string
  readonly method: Method
  readonly at: number
  readonly life: number
  /** Who had to give it back where it was not known of: whoever held the name. `undefined`: nobody held it. */
  readonly holder: Actor | undefined
  /** It was taken over while its name was held by one that knew nothing of it, and ran on. */
  isTakenAway: boolean
}

/** What a handler gets. */
interface Called {
  readonly orderId: string
  readonly entryId: string
  readonly deliveryCount: number
}

export interface Rules {
  readonly maxDeliveries: number
  /** The network is prompt and processes die only by their handlers: then numbers are exact. */
  readonly isCalm: boolean
  readonly concurrency: number
  readonly mode: PollMode
  readonly pollLingerMs: number | undefined
  readonly claimLingerMs: number
  readonly usesPolicies: boolean
  readonly isOnce: boolean
  readonly promotes: boolean
}

/** What the promises allow, kept beside the server. Whatever is not allowed is thrown. */
export class Model {
  readonly entries: Published[] = []
  readonly delays = new DelayModel()
  #orders = 0
  readonly #byOrder = new Map<string, Published>()
  /** Lives of the group so far. */
  life = 0
  /** Commands so far. */
  tick = 0
  /** After how many commands, and when, it was paused. */
  paused: { readonly tick: number; readonly nowMs: number } | undefined
  /** After how many commands the last pause ended. */
  pauseEndedAt = -1
  /** Changes of the server by processes so far. */
  changes = 0
  hasCrashed = false
  readonly #rules: Rules
  readonly #chapters = new Map<string, Chapter>()
  #lettersSeen = 0
  /** The server as it was seen last. */
  #rows: ReadonlyMap<string, Row> = new Map()
  #leases: readonly string[] = []
  #tokens: Sight['leases'] = new Map()
  #dueInMs: Sight['dueInMs'] = new Map()
  /** Delivery counts of what is set aside, by id, and of what waits for a condition. */
  #aside: ReadonlyMap<string, number> = new Map()
  #waiting: ReadonlyMap<string, number> = new Map()
  /** Since when each entry is due that was not taken. */
  readonly #dueSince = new Map<string, number>()
  /** How far the server's clock had gone on by itself by then. */
  #seenAt = 0
  readonly #driftMs: () => number
  /** Who read or took over an entry, and has not let go of it. */
  readonly #holders = new Map<string, Actor>()
  /** When a process had an entry delivered, by both: in several lives of the group, it may hold it for each. */
  readonly #deliveries = new Map<string, readonly Moment[]>()
  /** By life, entry and count. */
  readonly #given = new Map<string, Given>()
  /** When each slot was taken last, by consumer name. */
  readonly #takenAt = new Map<string, number>()
  /** Who has ever held a lease, by its token. */
  readonly #actors = new Map<string, Actor>()

  readonly #duplicates = new DuplicateModel({
    idleMs: MIN_IDLE_MS - DRIFT_MS,
    holds: (by, id) => this.#holders.get(id) === by,
  })

  /** @param driftMs As a world's. */
  constructor(rules: Rules, driftMs: () => number) {
    this.#rules = rules
    this.#driftMs = driftMs
  }

  /** @param again Of whose event it is. Left out: of its own. */
  publish(behaviours: readonly Behaviour[], isNewerVersion?: boolean, again?: Published): Published {
    return this.#add(this.#nextId(), this.order(behaviours, isNewerVersion, again))
  }

  /** An order that is not in the stream yet. */
  order(behaviours: readonly Behaviour[], isNewerVersion = false, again?: Order): Order {
    const event = again ? `=${eventOf(again.orderId)}` : ''
    return { orderId: `o${++this.#orders}${event}${isNewerVersion ? '+' : ''}`, behaviours }
  }

  #add(id: string, order: Order): Published {
    const entry = { ...order, id, trimmedAt: undefined, results: [], letters: 0, dueMs: 0, dueSaidAt: 0 }
    this.entries.push(entry)
    this.#byOrder.set(entry.orderId, entry)
    return entry
  }

  /** A number, or the next one of the time at which something was promoted last. */
  #nextId(): string {
    const [ms = 0, seq = 0] = (this.entries.at(-1)?.id ?? '0-0').split('-').map(Number)
    return ms < FIRST_TIME ? `${ms + 1}-0` : `${ms}-${seq + 1}`
  }

  entry(orderId: string): Published {
    return demand(this.#byOrder.get(orderId), `${orderId} was never published`)
  }

  /** Entries that are still in the stream. */
  get kept(): readonly Published[] {
    return this.entries.filter(({ trimmedAt }) => trimmedAt === undefined)
  }

  trim(entries: readonly Published[]): void {
    for (const entry of entries) entry.trimmedAt = this.tick
  }

  /** The group is gone; with everything the dead letters are. */
  endLife(isEverything: boolean, nowMs: number): void {
    this.life++
    if (isEverything) this.paused = undefined
    if (isEverything) this.delays.lost({ changes: this.changes, nowMs })
    this.#holders.clear()
    if (isEverything) this.#lettersSeen = 0
  }

  /**
   * A process calls a handler.
   *
   * @returns What it does, and what to call when that is done.
   */
  called(by: Actor, { orderId, entryId, deliveryCount }: Called, nowMs: number, driftMs: () => number) {
    const entry = this.entry(orderId)
    const { maxDeliveries } = this.#rules
    const moments = this.#deliveries.get(`${by.name} ${entryId}`) ?? []
    const deliveredAt = demand(
      moments.find(({ life }) => !this.#chapter(life, orderId).attempts.includes(deliveryCount)) ?? moments.at(-1),
      `${by.name} calls the handler of ${orderId}, which was not delivered to it`,
    )
    const { attempts } = this.#chapter(deliveredAt.life, orderId)
    const said = `${orderId} was called with delivery ${deliveryCount}, after [${attempts}] in the same life of the group`
    assert(entry.id === entryId, `${said}: as entry ${entryId}, not ${entry.id}`)
    assert(!attempts.includes(deliveryCount), `${said}: every delivery must be called at most once`)
    assert(deliveryCount >= 1 && deliveryCount <= maxDeliveries, `${said}: maxDeliveries is ${maxDeliveries}`)
    assert(
      entry.trimmedAt === undefined || entry.trimmedAt > deliveredAt.tick,
      `${said}: it had been trimmed before it was delivered`,
    )
    assert(!(by.isOlder && isNewer(orderId)), `${said}: by a process that does not know its version`)
    this.#assertNotPaused(by, nowMs, said)
    // a failure that its process took along was never settled
    if (this.#rules.isCalm && !this.hasCrashed)
      assert(
        nowMs + driftMs() - entry.dueSaidAt + ROUNDING_MS >= entry.dueMs,
        `${said}: ${entry.dueMs - nowMs} ms too early`,
      )
    this.#assertAllUsed(deliveredAt.life, entry, deliveryCount - 1, said)
    const isLast = maxDeliveries > 1 && deliveryCount === maxDeliveries
    this.#assertLastIsAlone(by, isLast, said)
    const endOfEvent = this.#rules.isOnce ? this.#duplicates.called(by, entry, said) : undefined
    by.running.set(entry, { isLast })
    attempts.push(deliveryCount)
    const call = entry.results.push('open') - 1
    return {
      behaviour: entry.behaviours[Math.min(call, entry.behaviours.length - 1)] ?? 'ok',
      end: (result: Result, dueMs: number, endMs: number) => {
        if (entry.results[call] !== 'open') return
        by.running.delete(entry)
        endOfEvent?.()
        if (isLast) by.lastTookMs += endMs - nowMs
        entry.results[call] = result
        entry.dueMs = dueMs
        entry.dueSaidAt = driftMs()
        this.hasCrashed ||= result === 'crashed'
      },
    }
  }

  /** Whoever reads as well runs a last delivery with nothing beside it, until those have taken long enough to hold up the rest. */
  #assertLastIsAlone(by: Actor, isLast: boolean, said: string): void {
    if (!this.#rules.isCalm || by.kind !== 'poll' || by.lastTookMs >= HANDLER_MS) return
    const beside = [...by.running].find(([, one]) => isLast || one.isLast)
    assert(!beside, `${said}: beside ${beside?.[0].orderId}, one of them for the last time`)
  }

  /** Nothing starts while paused: in a process that has begun since, and, where the network is prompt, in any after a third of `minIdleMs`. */
  #assertNotPaused(by: Actor, nowMs: number, said: string): void {
    if (!this.paused) return
    assert(by.startedAt <= this.paused.tick, `${said}: by a process that has begun since a pause`)
    const agoMs = nowMs - this.paused.nowMs
    assert(!this.#rules.isCalm || agoMs <= MIN_IDLE_MS / 3, `${said}: ${agoMs} ms after a pause`)
  }

  /** A run that was not killed has ended. */
  ended({ name }: Actor, report: Report | undefined, error: unknown, mayFail: boolean): void {
    assert(report !== undefined, `${name} failed without a report: ${String(error)}`)
    assert(difference(report) === 0, `the report of ${name} does not add up: ${JSON.stringify(report)}`)
    assert(mayFail || error === undefined, `${name} failed though nothing failed it: ${String(error)}`)
    const { acked, duplicates } = report
    this.#duplicates.reported += duplicates
    const most = this.#rules.isOnce ? acked : 0
    assert(duplicates <= most, `${name} acknowledged ${acked} entries, and reports ${duplicates} duplicates`)
    const [said, promoted] = [report.promoted, this.delays.promotedBy(name)]
    const isSaid = this.#rules.isCalm ? said === promoted : said <= promoted
    assert(isSaid, `${name} has promoted ${promoted} delayed events and reports ${said}`)
    if (!this.#rules.isCalm) return
    const { ackMissed, superseded, unsettled, lost, groupRecreated } = report
    const odd = { ackMissed, superseded, unsettled, lost, groupRecreated }
    assert(
      Object.values(odd).every((value) => !value),
      `${name} was disturbed by nobody: ${JSON.stringify(odd)}`,
    )
  }

  /** A claimer's run has given its slot back: what it saw set aside, it is to take if its time allows. */
  finished(by: Actor, { dueInMs }: Sight, nowMs: number): void {
    by.sawDueAt = dueInMs.size > 0 ? nowMs + Math.max(0, Math.min(...dueInMs.values())) : undefined
  }

  /** Time is about to go by, and every call was answered. */
  watch(actors: readonly Actor[], nowMs: number): void {
    this.delays.watch(nowMs)
    for (const actor of actors) {
      actor.readySince = this.#isReady(actor, nowMs) ? (actor.readySince ?? nowMs) : undefined
      actor.listensSince = this.#isListening(actor, nowMs) ? (actor.listensSince ?? nowMs) : undefined
    }
    for (const id of this.#dueSince.keys()) if (!this.#dueInMs.has(id)) this.#dueSince.delete(id)
    for (const [id, ms] of this.#dueInMs)
      if (ms > 0) this.#dueSince.delete(id)
      else if (!this.#dueSince.has(id)) this.#dueSince.set(id, nowMs)
  }

  /**
   * Where the network is prompt, what is due is started within 2 s: by whoever listens, has room and time, and is not paused; and by a claimer that waits for it.
   * Nothing starts beside a last delivery, nor before one that a listener has in hand beside the handlers under way.
   */
  checkPrompt(actors: readonly Actor[], nowMs: number): void {
    const delayed = this.delays.overdueSince(nowMs - PROMPT_MS)
    for (const { name, listensSince = Infinity } of actors) {
      const isLate = delayed !== undefined && this.#rules.promotes && listensSince < nowMs - PROMPT_MS
      assert(!isLate, `${name} listens, and has not promoted ${delayed}, due more than ${PROMPT_MS} ms ago`)
    }
    const overdue = [...this.#dueSince].find(([id, since]) => this.#dueInMs.has(id) && since < nowMs - PROMPT_MS)
    for (const actor of actors) {
      const { name, kind, readySince = Infinity, sawDueAt = Infinity, methods } = actor
      const isLate = overdue !== undefined && readySince < nowMs - PROMPT_MS
      assert(!isLate, `${name} listens, and has left ${overdue?.[0]} alone, due ${nowMs - (overdue?.[1] ?? 0)} ms ago`)
      const hasFinished = kind === 'claim' && methods.at(-1)?.name === 'finishClaims' && !actor.isOver
      if (hasFinished && this.#isPrompt(actor) && !this.paused && actor.deadline - nowMs > NEEDED_MS + MARGIN_MS)
        assert(sawDueAt >= nowMs - PROMPT_MS, `${name} waits for what was due ${nowMs - sawDueAt} ms ago`)
    }
  }

  #isPrompt({ isDead, isOver, isFrozen }: Actor): boolean {
    return this.#rules.isCalm && !isDead && !isOver && !isFrozen
  }

  /** Until its time is up, under a lease. */
  #isListening(actor: Actor, nowMs: number): boolean {
    const { mode, pollLingerMs } = this.#rules
    const listens = actor.kind === 'poll' && mode === 'listen' && pollLingerMs === undefined
    const hasSlot = this.#leases.includes(actor.token)
    return listens && hasSlot && this.#isPrompt(actor) && actor.deadline - nowMs > NEEDED_MS + MARGIN_MS
  }

  #isReady(actor: Actor, nowMs: number): boolean {
    const { maxDeliveries, concurrency, usesPolicies, isOnce } = this.#rules
    if (!this.#isListening(actor, nowMs) || usesPolicies || isOnce || this.paused) return false
    const [owner] = [...this.#tokens].find(([, token]) => token === actor.token) ?? []
    // its name may have entries of a process that died
    const held = [...this.#rows.values()].filter((row) => row.owner === owner && this.#holders.get(row.id) === actor)
    const hasLast = held.some(({ count }) => count >= maxDeliveries)
    // what overran takes a place, and is held no more
    return actor.handlers < concurrency && held.length <= actor.running.size && !hasLast
  }

  /** Nothing but the time ends who listens, and who waits for what is due within its time. */
  checkEnd(actor: Actor, nowMs: number): void {
    const { isCalm, mode, pollLingerMs, claimLingerMs } = this.#rules
    const { name, kind, deadline, startedAt, sawDueAt = Infinity } = actor
    if (!isCalm) return
    const leftMs = deadline - nowMs - NEEDED_MS - MARGIN_MS
    if (kind === 'poll' && mode === 'listen' && pollLingerMs === undefined)
      assert(leftMs <= PROMPT_MS, `${name} has ended ${leftMs} ms early`)
    const isTooFar = sawDueAt > deadline - NEEDED_MS - MARGIN_MS || sawDueAt - nowMs > claimLingerMs
    // what it saw paused may be so no more
    const hadPause = this.paused !== undefined || this.pauseEndedAt >= startedAt
    if (kind === 'claim' && claimLingerMs > 0 && !hadPause)
      assert(isTooFar, `${name} has ended ${sawDueAt - nowMs} ms before the next is due`)
  }

  /** Takes note of what a server holds, after a change that no process made. */
  seen(sight: Sight): void {
    const { pending, leases, due, waiting, dueInMs } = sight
    this.delays.seen(sight)
    this.#duplicates.seen(sight, (id) => this.#holders.has(id))
    this.#dueInMs = dueInMs
    this.#waiting = countsOf(waiting)
    this.#aside = new Map([...countsOf(due), ...this.#waiting])
    this.#seenAt = this.#driftMs()
    this.#rows = new Map(pending.map((row) => [row.id, row]))
    this.#leases = [...leases.values()]
    this.#tokens = leases
  }

  /**
   * A process has changed what a server holds. It may read and ack; while its lease lives it may take over what is idle, and decide about
   * what it holds, or what is held by nobody whose lease lives.
   *
   * @param isHeard The reply may reach it. If not, what it read or took over is held by nobody.
   */
  changed(by: Actor, sight: Sight, method: Method, isHeard: boolean, nowMs: number): void {
    this.changes++
    const moment = { changes: this.changes, nowMs }
    for (const { id, order } of this.delays.changed(by.name, sight, method, this.#fresh(sight), moment))
      this.#add(id, order)
    const [before, leases, aside, waiting] = [this.#rows, this.#leases, this.#aside, this.#waiting]
    const [dueInMs, sinceMs] = [this.#dueInMs, this.#driftMs() - this.#seenAt]
    if (by.token !== '') this.#actors.set(by.token, by)
    if (READS.includes(method.name)) assertHandedBack(by, method)
    const mayDecide = ({ id }: { readonly id: string }) => {
      const holder = this.#holders.get(id)
      return leases.includes(by.token) && (holder === by || !holder || !leases.includes(holder.token))
    }
    for (const [name, token] of sight.leases)
      if (token !== this.#tokens.get(name)) this.#takenAt.set(name, this.changes)
    this.seen(sight)
    for (const { orderId } of this.#countLetters(sight))
      assert(mayDecide(this.entry(orderId)), `${by.name} has dead-lettered ${orderId}, which it did not hold`)
    for (const id of before.keys()) if (!this.#rows.has(id)) this.#gone(id, by)
    for (const row of sight.pending) {
      const was = before.get(row.id)
      if (was && isSame(was, row)) continue
      const isTaken = row.owner !== PARKED_CONSUMER && row.idleMs < DRIFT_MS
      // a limit: what waited for a condition in a life of the group before may do so still
      const isAside = was?.owner === PARKED_CONSUMER && !waiting.has(row.id)
      const waitMs = isAside && isTaken ? (dueInMs.get(row.id) ?? 0) : 0
      assert(waitMs <= sinceMs + ROUNDING_MS, `${by.name} has taken ${row.id} ${waitMs} ms before it is due`)
      const isIdle = was !== undefined && was.idleMs >= MIN_IDLE_MS - DRIFT_MS
      const isLeased = leases.includes(by.token) || method.name === 'takeSlotAndClaim'
      // what is set aside comes back by its index, whatever its age
      const mayTake = isTaken && (!was || ((isIdle || was.owner === PARKED_CONSUMER) && isLeased))
      const mayRelease = was?.count === 1 && row.count === 0 && this.#isNobodys(row.id)
      assert(
        mayTake || mayDecide(row) || mayRelease,
        `${by.name} has changed ${JSON.stringify(was)} to ${JSON.stringify(row)}`,
      )
      if (was && row.count < was.count) this.#assertNotCalled(row.id, was.count)
      // what a lost group gets back has the count of its last life
      const isHanded = method.name === 'settleAndTake' && row.count === aside.get(row.id)
      const isBack = !was && (row.owner === PARKED_CONSUMER || isHanded)
      if (!isBack && (!was || row.count > was.count)) {
        const key = `${by.name} ${row.id}`
        this.#deliveries.set(key, [...(this.#deliveries.get(key) ?? []), { life: this.life, tick: this.tick }])
        this.#given.set(`${this.life} ${row.id} ${row.count}`, this.#give(by, method, row))
      } else if (was && row.owner !== was.owner) this.#takenAway(row, by)
      if (isTaken && (row.owner !== was?.owner || row.count > was.count)) this.#duplicates.delivered(row.id)
      if (isTaken && isHeard) this.#holders.set(row.id, by)
      else this.#holders.delete(row.id)
    }
  }

  /** What is no longer pending was handled, or another entry of its event was, or it is a dead letter, or trimmed. */
  #gone(id: string, by: Actor): void {
    this.#holders.delete(id)
    const entry = this.entries.find((one) => one.id === id)
    const isExplained = !entry || entry.trimmedAt !== undefined || this.#isDone(entry)
    assert(isExplained, `${by.name} has acknowledged ${entry?.orderId}, which nobody has handled`)
  }

  #isDone(entry: Published): boolean {
    return isDone(entry) || (this.#rules.isOnce && this.#duplicates.isHandled(entry))
  }

  /** Entries that were not in the stream before. */
  #fresh({ stream }: Sight): Sight['stream'] {
    const last = this.entries.at(-1)?.id ?? '0-0'
    return stream.slice(stream.findLastIndex(({ id }) => compareEntryIds(id, last) <= 0) + 1)
  }

  #give(by: Actor, method: Method, { owner }: Row): Given {
    const token = this.#tokens.get(owner)
    const holder = token === undefined ? undefined : this.#actors.get(token)
    // who took the slot lost the answer to that, and its server with it; or a limit: the doubt has ended with the slot's next holder
    const givenAt = by.methods.findLast(({ gave }) => gave === owner)?.carriedOutAt ?? 0
    const isTakenAway = holder === undefined && (token !== undefined || (this.#takenAt.get(owner) ?? 0) > givenAt)
    return { by, owner, method, at: this.changes, life: this.life, holder, isTakenAway }
  }

  // a limit: what was read and is not known of, by the holder of the name, is handed back by its last requests, and claimed if they are later than minIdleMs
  #takenAway({ id, count }: Row, by: Actor): void {
    const given = this.#given.get(`${this.life} ${id} ${count}`)
    if (given?.holder && given.holder !== by && !given.holder.isOver) given.isTakenAway = true
  }

  /** A read brought it whose answer is lost. */
  #isNobodys(id: string): boolean {
    return this.#given.get(`${this.life} ${id} 1`)?.method.isAnswered === false
  }

  /** Every delivery up to that one was a call of the handler, or its process died, or lost its server to its end. */
  #assertAllUsed(life: number, { id, orderId }: Published, upTo: number, said: string): void {
    const { attempts } = this.#chapter(life, orderId)
    for (let count = 1; count <= upTo; count++) {
      const given = this.#given.get(`${life} ${id} ${count}`)
      assert(
        attempts.includes(count) || !given || mayCost(given),
        `${said}: delivery ${count} was lost by ${given?.by.name}`,
      )
    }
  }

  /** Compares what a server holds with what may be. */
  check(sight: Sight): void {
    const expected = this.kept.map(({ id }) => id)
    const stream = sight.stream.map(({ id }) => id)
    assert(`${stream}` === `${expected}`, `the stream holds [${stream}], not [${expected}]`)
    this.seen(sight)
    this.delays.check(sight)
    assert(this.#countLetters(sight).length === 0, 'a dead letter came from nobody')
    // a group that was made again has yet to get back what was set aside
    const indexed = [...sight.due, ...sight.waiting].flatMap((text) => /\d+-\d+/.exec(text) ?? [])
    const reachable = new Set([...sight.pending.map(({ id }) => id), ...indexed])
    for (const entry of this.kept) {
      const isReachable = !isDelivered(entry.id, sight.lastDelivered) || reachable.has(entry.id)
      assert(
        isReachable || this.#isDone(entry),
        `${entry.orderId} is lost: neither handled, nor dead-lettered, nor pending`,
      )
    }
    for (const { id, owner, count } of sight.pending)
      assert(count <= this.#rules.maxDeliveries, `${id} is pending under ${owner} with ${count} deliveries`)
    const strangers = sight.consumers.filter((name) => !/^(poller-[01]|claimer-[01]|parked|aging)$/.test(name))
    assert(strangers.length === 0, `there are consumers [${strangers}]`)
  }

  /** A claimer has gone through all that is pending: it left nothing as it was that was not set aside and had been idle for long enough. */
  checkLap(before: Sight, after: Sight): void {
    const rows = new Map(after.pending.map((row) => [row.id, row]))
    const passedOver = before.pending.filter((was) => {
      const is = rows.get(was.id)
      return was.owner !== PARKED_CONSUMER && was.idleMs >= MIN_IDLE_MS && is && isSame(was, is)
    })
    assert(passedOver.length === 0, `a claimer passed over ${JSON.stringify(passedOver)}`)
  }

  /** What must hold once time has gone by and pollers and claimers have run until nothing was left. */
  checkDrained(sight: Sight): void {
    this.check(sight)
    const undone = this.kept.filter((entry) => !this.#isDone(entry)).map(({ orderId }) => orderId)
    const { pending, due, waiting, leases, delays } = sight
    const leftOver = { undone, pending, due, waiting, leases: [...leases], delayed: delays.waiting }
    const nothing = { undone: [], pending: [], due: [], waiting: [], leases: [], delayed: [] }
    assert(JSON.stringify(leftOver) === JSON.stringify(nothing), `not drained: ${JSON.stringify(leftOver)}`)
    if (!this.#rules.isCalm || this.hasCrashed) return
    const handled = new Set(this.entries.filter(isHandled).map(({ orderId }) => eventOf(orderId)))
    const duplicates = this.entries.filter(
      (entry) => this.#rules.isOnce && !isDone(entry) && handled.has(eventOf(entry.orderId)),
    )
    const { reported } = this.#duplicates
    assert(reported === duplicates.length, `there are ${duplicates.length} duplicates, and reports count ${reported}`)
    for (const entry of this.entries) if (!duplicates.includes(entry)) this.#checkExact(entry)
    const successes = this.#rules.isOnce ? this.entries.filter(isHandled).length : handled.size
    assert(successes === handled.size, `of ${handled.size} events ${successes} entries were handled`)
  }

  /** Nobody died, so that an entry was called until it succeeded or was given up, and no more. */
  #checkExact(entry: Published): void {
    const { results, orderId, letters } = entry
    const isOver = (result: Result) => result === 'succeeded' || result === 'refused'
    const over = results.findIndex(isOver)
    const calls = over < 0 ? this.#rules.maxDeliveries : over + 1
    const said = `${orderId} was called [${results}] and became ${letters} dead letters`
    assert(results.length === calls && letters === (results[over] === 'succeeded' ? 0 : 1), said)
  }

  #assertNotCalled(id: string, count: number): void {
    const orderId = this.entries.find((entry) => entry.id === id)?.orderId ?? ''
    const { attempts } = this.#chapter(this.life, orderId)
    assert(!attempts.includes(count), `${orderId} got its delivery ${count} back though its handler was called`)
  }

  /** @returns The new ones. */
  #countLetters({ letters }: Sight): Sight['letters'] {
    const { isCalm, maxDeliveries } = this.#rules
    const fresh = letters.slice(this.#lettersSeen)
    for (const { orderId, reason, count } of fresh) {
      const entry = this.entry(orderId)
      const chapter = this.#chapter(this.life, orderId)
      const said = `${orderId} became a dead letter, ${reason} ${count}, after calls [${chapter.attempts}]`
      entry.letters++
      assert(++chapter.letters === 1, `${said}: for the second time`)
      assert(reason === 'non-retryable' || count === maxDeliveries, `${said}: before its last delivery`)
      this.#assertAllUsed(this.life, entry, count, said)
      if (isCalm && maxDeliveries > 1) assert(isFair(reason, entry.results), `${said}, [${entry.results}]: unfairly`)
    }
    this.#lettersSeen = letters.length
    return fresh
  }

  #chapter(life: number, orderId: string): Chapter {
    const key = `${life} ${orderId}`
    const chapter = this.#chapters.get(key) ?? { attempts: [], letters: 0 }
    this.#chapters.set(key, chapter)
    return chapter
  }
}

/** Whether a delivery may have been lost without a call. */
function mayCost({ by, owner, method, at, life, holder, isTakenAway }: Given): boolean {
  if (isTakenAway || hasNoSay(by, life)) return true
  const settling = handingBack(by, method)
  if (method.isAnswered) return !settling.at(-1)?.isAnswered
  if (holder !== undefined && holder !== by)
    return hasNoSay(holder, life) || !handingBack(holder, method).at(-1)?.isAnswered
  const { lostAt = 0 } = method
  if (holder === undefined)
    return !by.methods.some(
      ({ gave, carriedOutAt, isAnswered }) => gave === owner && isAnswered && carriedOutAt > lostAt,
    )
  // it must have tried twice at least, once while it goes on and once with its slot, or to the end of its time, and have had no answer
  const tries = settling.filter(
    (other) => other.sentAt >= lostAt && (other.lostAt !== undefined || other.carriedOutAt > other.sentAt),
  )
  const isEnough = tries.length > 1 || tries.some(({ isTooLate }) => isTooLate)
  return isEnough && !tries.some(({ isAnswered, carriedOutAt }) => isAnswered && carriedOutAt > at)
}

/** Nobody reads on before what a read brought that was not answered is handed back; or the slot was taken again. */
function assertHandedBack({ name, methods }: Actor, next: Method): void {
  const before = methods.slice(0, methods.indexOf(next))
  const lostAt = before.findLastIndex((method) => READS.includes(method.name) && method.lostAt !== undefined)
  const since = before.slice(lostAt + 1)
  const isClear = since.some((method) => method.name === 'takeSlot' || (method.isHandBack && method.isAnswered))
  assert(lostAt < 0 || isClear, `${name} reads on before it hands back what a lost read may have brought`)
}

const READS: readonly string[] = ['settleAndRead', 'read']

/** It died, was frozen, or lost its lease and its group. */
function hasNoSay({ isDead, wasFrozen, bornIn }: Actor, life: number): boolean {
  return isDead || wasFrozen || bornIn !== life
}

/** Calls that hand back what came of a call, or may have; a claimer gives its slot back without regard to that. */
function handingBack({ name, methods }: Actor, of: Method): readonly Method[] {
  if (!of.isAnswered && of.name === 'settleAndTake')
    return methods.filter((method) => method.name === 'settleAndGiveBack')
  if (!of.isAnswered && READS.includes(of.name)) return methods.filter(({ isHandBack }) => isHandBack)
  const isClaimer = name.startsWith('claimer')
  return methods.filter((method) => method.name.startsWith('settle') || (method.name === 'giveSlot' && !isClaimer))
}

function isSame(was: Row, is: Row): boolean {
  return was.owner === is.owner && was.count === is.count && is.idleMs > was.idleMs - DRIFT_MS
}

/** Delivery counts, by id. */
function countsOf(texts: readonly string[]): ReadonlyMap<string, number> {
  return new Map(
    texts.flatMap((text) => {
      const [, id, count] = /(\d+-\d+) (\d+)/.exec(text) ?? []
      return id === undefined ? [] : [[id, Number(count)] as const]
    }),
  )
}

/** Whether a group has gone past an entry. */
export function isDelivered(id: string, lastDelivered: string | undefined): boolean {
  return lastDelivered !== undefined && compareEntryIds(id, lastDelivered) <= 0
}

function isHandled({ results }: Published): boolean {
  return results.includes('succeeded')
}

function isDone({ results, letters }: Published): boolean {
  return results.includes('succeeded') || letters > 0
}

/**
 * Whether an entry earned its dead letter by what it did itself. One that failed and was parked is retried beside others, also for the
 * last time, so that one of them may take it along. (With `maxDeliveries: 1` a death uses up the only delivery of all that was read.)
 */
function isFair(reason: string, results: readonly Result[]): boolean {
  if (reason === 'non-retryable') return results.includes('refused')
  const hasFailed = results.includes('failed') || results.includes('timed out')
  return hasFailed || (reason === 'crashed' && results.includes('crashed'))
}

function demand<T>(value: T | undefined, message: string): T {
  assert(value !== undefined, message)
  return value
}
