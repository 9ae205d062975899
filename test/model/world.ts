import { COUNTS, RUNNING } from '../../src/core/due-score.ts'
import { consumerKeys, delayKeys } from '../../src/core/keys.ts'
import { MARKER_STATES } from '../../src/core/markers.ts'
import type { RedisConnectionError } from '../../src/errors.ts'
import type { Connection } from '../../src/group/connection.ts'

export const STREAM = 'orders'
export const GROUP = 'billing'
export const KEYS = consumerKeys(STREAM, GROUP)
export const DELAY_KEYS = delayKeys(STREAM)
/** For how long what was trimmed has been idle. */
export const TRIMMED_IDLE_MS = 600_000
export const SLOTS = ['poller-0', 'poller-1', 'poller-2', 'poller-3', 'claimer-0', 'claimer-1']

/** A server on which time goes by when a test says so, seen from outside. */
export interface World {
  readonly name: string
  /** Whether its client sends a call again when the reply is lost: then a fault may have a call carried out twice. */
  readonly resends: boolean
  /** The connection of one more process. Each of its calls goes through the caller, who decides when and whether it gets to the server. */
  connect(caller: Caller): Connection
  look(): Promise<Sight>
  /** Time goes by on the server: pending entries age, leases and due times come nearer. */
  pass(ms: number): Promise<void>
  add(entries: readonly (readonly [id: string, orderId: string])[]): Promise<void>
  /** What is pending of it has been idle for long from then on: no time can pass for it on a server. */
  trim(ids: readonly string[]): Promise<void>
  lose(what: Loss): Promise<void>
  /** The server's time, in milliseconds since 1970. */
  nowMs(): number
  /** Milliseconds that have gone by on the server by themselves, since whenever: on a real one time does not stand still between passes. */
  driftMs(): number
  /** From now on dead letters are refused, or taken again. Does nothing where they are never refused. */
  jam(isJammed: boolean): Promise<void>
  /** From now on that is paused, or nothing is. */
  pause(name: string | undefined): Promise<void>
  clear(): Promise<void>
}

/** Only the group, the stream with its group, or all there is, scripts included. */
export type Loss = 'group' | 'stream' | 'everything'

/** One write: commands, or what does in memory as they do. A server may carry it out up to any of its parts, and go on later. */
export interface Request<Reply> {
  readonly label: string
  readonly parts: number
  /** It may be sent again in every world. */
  readonly resends?: boolean
  /** Left out: the server answers at once. */
  readonly hold?: Hold
  /** @returns What each part from the one on, up to the other, answers. */
  carryOut(from: number, to: number): Promise<readonly unknown[]>
  /**
   * What its caller gets once these parts were answered.
   *
   * @param lost What kept the others from being answered.
   */
  reply(answers: readonly unknown[], lost?: RedisConnectionError): Reply
}

/** How long a server waits with its answer. */
interface Hold {
  readonly ms: number
  /** There is something to answer with. */
  isOver(): boolean
}

/** A call of the group port by a process. What is counted is changes to the server. */
export interface Method {
  readonly name: string
  /** Under which consumer name it gave a slot back. */
  readonly gave: string | undefined
  /** It releases what was read and never reached its caller. */
  readonly isHandBack: boolean
  readonly sentAt: number
  /** When a part of it was carried out last. */
  carriedOutAt: number
  /** Delayed events that it is about. */
  readonly asks: readonly DelayAsk[]
  /** Milliseconds in which an answer is of use, where the port does not say. */
  readonly remainingMs: (() => number) | undefined
  /** When its caller learned that its answer is lost. */
  lostAt: number | undefined
  /** Its time was over before it was sent, so that no answer could come. */
  isTooLate: boolean
  isAnswered: boolean
}

/** What a process does: it runs a poller or a claimer, publishes delayed events, cancels one, or promotes what is due. */
export type ProcessKind = 'poll' | 'claim' | 'delay' | 'cancel' | 'promote'

/** What a call asks for of a delayed event. */
export interface DelayAsk {
  readonly eventId: string
  /** Its payload, which is another with each call. Left out: the call cancels it. */
  readonly order?: Order
  /** Milliseconds from when the server has it, or the time in milliseconds since 1970. */
  readonly when?: { readonly inMs: number } | { readonly at: number }
}

/**
 * What a handler does when it is called: it succeeds, throws, throws NonRetryableError, throws RetryAfterError with a wait below or beyond
 * minIdleMs, takes the process with it, or never ends.
 */
export type Behaviour = 'ok' | 'throw' | 'fatal' | 'soon' | 'later' | 'crash' | 'hang'

/** What an entry is about, and what a handler does with it. */
export interface Order {
  readonly orderId: string
  /** One per call; the last one is repeated. */
  readonly behaviours: readonly Behaviour[]
}

/** Who makes calls. */
export interface Caller {
  /** @param timeoutMs When the caller gives up; the request may be carried out even later. */
  call<Reply>(request: Request<Reply>, timeoutMs: number | undefined): Promise<Reply>
}

/** What a server holds. */
export interface Sight {
  /** `undefined`: there is no group. */
  readonly lastDelivered: string | undefined
  /** The server's time, in milliseconds since 1970. */
  readonly nowMs: number
  readonly stream: readonly StreamEntry[]
  readonly delays: SeenDelays
  readonly pending: readonly Row[]
  readonly letters: readonly { readonly orderId: string; readonly reason: string; readonly count: number }[]
  /** Ids in the index of times, each with its delivery count, and `running` if it was taken. */
  readonly due: readonly string[]
  /** Milliseconds until each of them is due that was not taken, by id. */
  readonly dueInMs: ReadonlyMap<string, number>
  /** What waits: the condition, the id and the delivery count. */
  readonly waiting: readonly string[]
  /** Which entry was handled of each event that has a marker. */
  readonly handled: ReadonlyMap<string, string>
  /** Tokens of the slots that are held, by consumer name. */
  readonly leases: ReadonlyMap<string, string>
  readonly consumers: readonly string[]
}

/** An entry of the stream; one that was delayed has an event id and its order. */
interface StreamEntry {
  readonly id: string
  readonly eventId: string
  readonly orderId: string
}

/** What is kept of delayed events: when each is due that waits, in due order, when the first is by the flag of runs, and how many are counted, -1 where the index by event id has another number. */
interface SeenDelays {
  readonly waiting: readonly (readonly [eventId: string, dueAt: number])[]
  readonly nextAt: number | undefined
  readonly records: number
}

/** A pending entry. */
export interface Row {
  readonly id: string
  readonly owner: string
  readonly idleMs: number
  readonly count: number
}

/** What an order is published as: with a `+` in it, of the newer version. */
export function fieldsOf(orderId: string): readonly (readonly [string, string])[] {
  return [
    ['eventType', 'OrderPaid'],
    ['schemaVersion', isNewer(orderId) ? '2' : '1'],
    ['payload', JSON.stringify({ orderId })],
  ]
}

export function isNewer(orderId: string): boolean {
  return orderId.endsWith('+')
}

/** Which event an order is of: `o7=3` is one of the third, `o3` is, too. */
export function eventOf(orderId: string): string {
  return String(Number.parseInt(orderId.split('=')[1] ?? orderId.slice(1), 10))
}

/** What the key of an event's marker begins with. */
export const MARKERS = KEYS.marker(`by:OrderPaid:`)

/** What a marker says that was handled; `undefined`: nothing. */
export function handledBy(marker: string | undefined): string | undefined {
  return marker?.startsWith(MARKER_STATES.handled) ? marker.slice(MARKER_STATES.handled.length) : undefined
}

/** What is kept of a pause, which never ends by itself. */
export function pauseText(name: string): string {
  return JSON.stringify({ [name]: { at: 1 } })
}

/** An entry as a sight has it. @param payload Asked for only where it was delayed. */
export function streamEntry(id: string, eventId: string, payload: () => string): StreamEntry {
  return { id, eventId, orderId: eventId === '' ? '' : (JSON.parse(payload()) as { orderId: string }).orderId }
}

/** What a dead letter says, of all its names and values. */
export function letterOf(pairs: readonly (readonly [string, string])[]): Sight['letters'][number] {
  const { reason = '', deliveryCount = '', payload = '{}' } = Object.fromEntries(pairs)
  return { orderId: (JSON.parse(payload) as { orderId: string }).orderId, reason, count: Number(deliveryCount) }
}

/** What of the index of times a sight has. @param nowMs The server's time. */
export function dueOf(index: readonly (readonly [id: string, score: number])[], nowMs: number) {
  const text = (id: string, score: number) =>
    score >= RUNNING ? `${id} ${score - RUNNING} running` : `${id} ${score % COUNTS}`
  const times = index.filter(([, score]) => score < RUNNING)
  return {
    due: index.map(([id, score]) => text(id, score)),
    dueInMs: new Map(times.map(([id, score]) => [id, Math.floor(score / COUNTS) - nowMs])),
  }
}
