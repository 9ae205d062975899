import type { CancelAnswer } from '../../src/group/delays.ts'
import { assert } from './assert.ts'
import type { DelayAsk, Method, Order, Sight } from './world.ts'

/** For how long it is remembered at least how an event ended. */
const REMEMBERED_MS = 3_600_000

/** What became of an event, after so many changes of the server. What is lost was flushed. */
interface Turn {
  readonly at: number
  readonly nowMs: number
  readonly state: 'waits' | 'promoted' | 'cancelled' | 'lost'
  /** Who made it so. */
  readonly by: string
}

/** An event of one id, which may be published again. */
interface DelayedEvent {
  readonly eventId: string
  readonly turns: Turn[]
  /** Of the call that added it last. */
  order: Order | undefined
}

/** When something happens: after so many changes, and by the clock of plans. */
interface Moment {
  readonly changes: number
  readonly nowMs: number
}

/** An entry that came by a promotion. */
interface Promoted {
  readonly id: string
  readonly order: Order
}

/** What delays allow: each event that was delayed enters the stream once, at its time or later, in due order, or is cancelled. */
export class DelayModel {
  readonly #events = new Map<string, DelayedEvent>()
  /** The server as it was seen last: when each event is due that waits, and the time. */
  #waiting: ReadonlyMap<string, number> = new Map()
  #nowMs = 0
  /** Since when each is due, by the clock of plans. */
  readonly #dueSince = new Map<string, number>()

  /** Ids that something was asked for, the newest first. */
  get eventIds(): readonly string[] {
    return [...this.#events.keys()].reverse()
  }

  /** A call is about to be made. */
  asked(asks: readonly DelayAsk[]): void {
    for (const { eventId } of asks)
      if (!this.#events.has(eventId)) this.#events.set(eventId, { eventId, turns: [], order: undefined })
  }

  /** Takes note of what waits, after a change that no process made. */
  seen({ delays, nowMs }: Sight): void {
    this.#waiting = new Map(delays.waiting)
    this.#nowMs = nowMs
  }

  /** All that was kept is gone. */
  lost(moment: Moment): void {
    for (const event of this.#events.values()) this.#turn(event, 'lost', 'a flush', moment)
  }

  /**
   * A process has changed what a server holds.
   *
   * @param fresh Entries that are new in the stream.
   * @returns The same, with the orders that they must have.
   */
  changed(by: string, sight: Sight, method: Method, fresh: Sight['stream'], moment: Moment): readonly Promoted[] {
    const before = this.#waiting
    const after = new Map(sight.delays.waiting)
    const left = fresh.find(({ eventId }) => after.has(eventId))
    assert(!left, `${by} has put ${left?.eventId} into the stream, and it waits still`)
    const promoted = fresh.map((entry) => this.#promoted(by, method, entry, moment))
    this.#assertInOrder(by, fresh, after)
    for (const [eventId, dueAt] of before) if (!after.has(eventId)) this.#left(by, method, eventId, dueAt, moment)
    for (const [eventId, dueAt] of after) {
      const was = before.get(eventId)
      if (was === undefined) this.#added(by, method, eventId, dueAt, sight, moment)
      else assert(was === dueAt, `${by} has moved the time of ${eventId} by ${dueAt - was} ms`)
    }
    this.seen(sight)
    return promoted
  }

  #promoted(by: string, { name }: Method, { id, eventId, orderId }: Sight['stream'][number], moment: Moment): Promoted {
    const event = this.#event(eventId)
    const dueAt = this.#waiting.get(eventId)
    const said = `${by} has put ${eventId} into the stream as ${id}`
    assert(name === 'promote', `${said}, by ${name}`)
    assert(stateOf(event) === 'waits' && dueAt !== undefined, `${said}, which did not wait: ${tale(event)}`)
    // an id is the server's time
    const earlyMs = dueAt - Number.parseInt(id, 10)
    assert(earlyMs <= 0, `${said}, ${earlyMs} ms too early`)
    const { order } = event
    assert(order?.orderId === orderId, `${said} with ${orderId}, not ${order?.orderId}`)
    this.#turn(event, 'promoted', by, moment)
    return { id, order }
  }

  /** What came is in due order, and nothing that waits was due before it. */
  #assertInOrder(by: string, fresh: Sight['stream'], after: ReadonlyMap<string, number>): void {
    let last = Number.NEGATIVE_INFINITY
    for (const { eventId } of fresh) {
      const dueAt = this.#waiting.get(eventId) ?? 0
      assert(dueAt >= last, `${by} has promoted ${eventId} after what is due later`)
      last = dueAt
    }
    const passedOver = [...after].find(([, dueAt]) => dueAt < last)
    assert(!passedOver, `${by} has passed over ${passedOver?.[0]}, which is due before what was promoted`)
  }

  #left(by: string, { name, asks }: Method, eventId: string, dueAt: number, moment: Moment): void {
    const event = this.#event(eventId)
    if (stateOf(event) === 'promoted') return
    const isCancelled = name === 'cancel' && asks.some((ask) => ask.eventId === eventId)
    assert(isCancelled, `${by} has lost ${eventId} by ${name}, due ${dueAt}: ${tale(event)}`)
    this.#turn(event, 'cancelled', by, moment)
  }

  #added(by: string, { name, asks }: Method, eventId: string, dueAt: number, sight: Sight, moment: Moment): void {
    const event = this.#event(eventId)
    const ask = asks.find((one) => one.eventId === eventId)
    const said = `${by} has added ${eventId} by ${name}, due ${dueAt}`
    const { when, order } = ask ?? {}
    assert(name === 'delay' && when !== undefined && order !== undefined, `${said}, which it was not asked for`)
    const [from, to] =
      'inMs' in when ? [this.#nowMs + when.inMs, sight.nowMs + when.inMs] : [Math.max(0, when.at), Math.max(0, when.at)]
    assert(dueAt >= from && dueAt <= to, `${said}, not between ${from} and ${to}`)
    assert(!this.#isRemembered(event, 'promoted', moment), `${said}, though it was promoted: ${tale(event)}`)
    event.order = order
    this.#turn(event, 'waits', by, moment)
  }

  /** A publisher was answered: all that it asked for waited meanwhile, or was promoted before. */
  delayed(by: string, { asks, sentAt, carriedOutAt }: Method): void {
    for (const { eventId } of asks) {
      const event = this.#event(eventId)
      const has = statesWithin(event, sentAt, carriedOutAt).some((state) => state === 'waits' || state === 'promoted')
      assert(has, `${by} was answered that ${eventId} is delayed: ${tale(event)}`)
    }
  }

  /** A call that cancels was answered. */
  cancelled(by: string, { asks, carriedOutAt }: Method, answer: CancelAnswer, nowMs: number): void {
    const event = this.#event(asks[0]?.eventId ?? '')
    const [state] = statesWithin(event, carriedOutAt, carriedOutAt)
    const said = `${by} was answered ${answer} of ${event.eventId}: ${tale(event)}`
    const ownTurn = event.turns.some((turn) => turn.state === 'cancelled' && turn.by === by)
    const ended = this.#ended(event, carriedOutAt)
    const isForgotten = ended === undefined || nowMs - ended.nowMs >= REMEMBERED_MS
    if (answer === 'cancelled') assert(state === 'cancelled' && ownTurn, said)
    if (answer === 'too-late') assert(state === 'promoted', said)
    if (answer === 'already-cancelled') assert(state === 'cancelled' && ended?.by !== by, said)
    if (answer === 'unknown') assert(state !== 'waits' && isForgotten, said)
  }

  /** What keeps the flag of runs and the records right: they are those of what waits. */
  check({ delays: { waiting, nextAt, records } }: Sight): void {
    const [first] = waiting
    assert(nextAt === first?.[1], `the flag says ${nextAt}, and the first is due ${first?.[1]}`)
    assert(records === waiting.length, `there are ${records} records of ${waiting.length} delayed events`)
    for (const [eventId] of waiting) assert(this.#is(eventId, 'waits'), `${eventId} waits, and nobody has added it`)
  }

  /** Time is about to go by. */
  watch(nowMs: number): void {
    for (const eventId of this.#dueSince.keys()) if (!this.#waiting.has(eventId)) this.#dueSince.delete(eventId)
    for (const [eventId, dueAt] of this.#waiting)
      if (dueAt <= this.#nowMs && !this.#dueSince.has(eventId)) this.#dueSince.set(eventId, nowMs)
  }

  /** @returns The first event that waits though it was due before that time; `undefined`: there is none. */
  overdueSince(ms: number): string | undefined {
    return [...this.#dueSince].find(([eventId, since]) => this.#waiting.has(eventId) && since < ms)?.[0]
  }

  /** How many events that process has promoted. */
  promotedBy(by: string): number {
    const all = [...this.#events.values()].flatMap(({ turns }) => turns)
    return all.filter((turn) => turn.state === 'promoted' && turn.by === by).length
  }

  /** Whether an event was promoted, or cancelled, so lately that it must be known. */
  #isRemembered(event: DelayedEvent, as: Turn['state'], { nowMs }: Moment): boolean {
    const last = event.turns.at(-1)
    return last?.state === as && nowMs - last.nowMs < REMEMBERED_MS
  }

  /** How it ended last, by that change. */
  #ended({ turns }: DelayedEvent, at: number): Turn | undefined {
    const last = turns.findLast((turn) => turn.at <= at)
    return last?.state === 'lost' ? undefined : last
  }

  #is(eventId: string, state: Turn['state']): boolean {
    return stateOf(this.#event(eventId)) === state
  }

  #event(eventId: string): DelayedEvent {
    const event = this.#events.get(eventId)
    assert(event !== undefined, `nobody ever delayed an event ${eventId}`)
    return event
  }

  #turn({ turns }: DelayedEvent, state: Turn['state'], by: string, { changes, nowMs }: Moment): void {
    turns.push({ at: changes, nowMs, state, by })
  }
}

function stateOf({ turns }: DelayedEvent): Turn['state'] | undefined {
  return turns.at(-1)?.state
}

/** What it was after that change, and what it became up to the other. */
function statesWithin({ turns }: DelayedEvent, from: number, to: number): readonly (Turn['state'] | undefined)[] {
  const before = turns.findLast(({ at }) => at <= from)?.state
  return [before, ...turns.filter(({ at }) => at > from && at <= to).map(({ state }) => state)]
}

function tale({ turns }: DelayedEvent): string {
  return turns.map(({ state, by, nowMs }) => `${state} by ${by} at ${nowMs}`).join(', ') || 'nothing became of it'
}
