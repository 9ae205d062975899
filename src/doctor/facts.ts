import type { ConsumerKeys } from '../core/keys.ts'
import { PARKED } from '../core/keys.ts'
import type { RedisReplyError } from '../errors.ts'
import type { Reply } from '../group/clients/transport.ts'
import { asRecord, asText, items } from '../group/commands/reply.ts'
import { type ConsumerInfo, parseXinfoConsumers, xinfoConsumers } from '../group/commands/xinfo-consumers.ts'
import { xrange } from '../group/commands/xrange.ts'
import { CLAIMER_SLOTS, slotNames } from '../group/consumer-names.ts'
import type { Question, Questions } from './ask.ts'
import type { Echo } from './echo.ts'
import { echoQuestion } from './echo.ts'

/** What the server says of itself: INFO's members by name. */
type ServerInfo = Readonly<Record<string, string>>

export interface ServerFacts {
  readonly info: ServerInfo
  /** The server's clock, in milliseconds since 1970. */
  readonly now: number
  readonly echo: Echo
}

/** A stream as XINFO STREAM has it; its entries' bodies are not kept. */
export interface StreamInfo {
  readonly length: number
  readonly lastGeneratedId: string
  /** The oldest and the newest entry's ids; `undefined` in an empty stream. */
  readonly firstId: string | undefined
  readonly lastId: string | undefined
  /** Entries there ever were; `undefined` before 7.0. */
  readonly entriesAdded: number | undefined
}

export interface GroupInfo {
  readonly name: string
  readonly pending: number
  readonly lastDeliveredId: string
  /** Entries the group has read; `undefined` where the server does not know. */
  readonly entriesRead: number | undefined
  readonly lag: number | undefined
}

/** What stands where a stream should. */
type Found = StreamInfo | 'missing' | 'another type'

export interface StreamFacts {
  readonly stream: Found
  readonly groups: readonly GroupInfo[]
  /** Milliseconds until the key expires; `undefined`: it does not. */
  readonly ttlMs: number | undefined
}

/** Pending entries of a group in sum. */
export interface PendingSum {
  readonly count: number
  /** `undefined` if nothing is pending. */
  readonly oldestId: string | undefined
}

interface PendingEntry {
  readonly id: string
  readonly owner: string
  readonly idleMs: number
  readonly deliveryCount: number
}

export interface GroupFacts {
  readonly consumers: readonly ConsumerInfo[]
  readonly pending: PendingSum
  /** The ten oldest. */
  readonly oldest: readonly PendingEntry[]
  /** Until when entries wait for their next delivery, by id; `undefined`: more wait than were looked at. */
  readonly waits: ReadonlyMap<string, number> | undefined
  /** Leases held under the names of the slots, and under those beyond. */
  readonly pollers: number
  readonly beyond: number
  readonly claimers: number
  readonly deadLetters: Found
  /** Where a lost group is made again; `undefined`: there never was one of ours. */
  readonly mark: string | undefined
  /** The stream that the group's keys belong to. */
  readonly keysOf: string | undefined
}

/** What is asked once it is known how far a group has read. */
export interface AheadFacts {
  /** The oldest entry that the group has not read; `undefined` if it has read all. */
  readonly ahead: string | undefined
}

/** More slots than that there are not. */
const MOST_SLOTS = 64
const OLDEST = 10
const WAITS = 1_000

/** @param probeKey A key that scripts may name; it is not looked at. */
export function serverQuestions(probeKey: string): Questions<ServerFacts> {
  return {
    info: { call: ['info'], right: '+info', read: (reply) => readInfo(asText(reply)) },
    now: { call: ['time'], right: '+time', read: (reply) => Number(asText(items(reply)[0])) * 1_000 },
    echo: echoQuestion(probeKey),
  }
}

export function streamQuestions(stream: string): Questions<StreamFacts> {
  return {
    stream: streamQuestion(stream),
    groups: {
      call: ['xinfo', 'GROUPS', stream],
      right: '+xinfo|groups',
      read: (reply) => items(reply).map(readGroup),
      answerOf: (error) => (isMissing(error) || error.is('WRONGTYPE') ? [] : undefined),
    },
    ttlMs: {
      call: ['pttl', stream],
      right: '+pttl',
      read: (reply) => (Number(reply) >= 0 ? Number(reply) : undefined),
    },
  }
}

export function groupQuestions(group: string, keys: ConsumerKeys, slots: number): Questions<GroupFacts> {
  const { stream, due, state, deadLetters } = keys
  const pollers = slotNames('poller', MOST_SLOTS)
  const held = (names: readonly string[]): Question<number> => ({
    call: ['exists', ...names.map((name) => keys.slot(name))],
    right: '+exists',
    read: Number,
  })
  const member = (name: string): Question<string | undefined> => ({
    call: ['hget', state, name],
    right: '+hget',
    read: (reply) => (reply === null ? undefined : asText(reply)),
  })
  const nothing = { count: 0, oldestId: undefined }
  return {
    consumers: {
      call: xinfoConsumers(stream, group),
      right: '+xinfo|consumers',
      read: parseXinfoConsumers,
      answerOf: (error) => (isMissing(error) ? [] : undefined),
    },
    pending: {
      call: ['xpending', stream, group],
      right: '+xpending',
      read: (reply) => {
        const [count, oldestId] = items(reply)
        return Number(count) > 0 ? { count: Number(count), oldestId: asText(oldestId) } : nothing
      },
      answerOf: (error) => (isMissing(error) ? nothing : undefined),
    },
    oldest: {
      call: ['xpending', stream, group, '-', '+', OLDEST],
      right: '+xpending',
      read: (reply) => items(reply).map(readPending),
      answerOf: (error) => (isMissing(error) ? [] : undefined),
    },
    waits: { call: ['zrange', due, 0, WAITS - 1, 'WITHSCORES'], right: '+zrange', read: readWaits },
    pollers: held(pollers.slice(0, slots)),
    // parked never has a lease: it is there for those who have all the slots
    beyond: held([...pollers.slice(slots), PARKED]),
    claimers: held(slotNames('claimer', CLAIMER_SLOTS)),
    deadLetters: streamQuestion(deadLetters),
    mark: member('mark'),
    keysOf: member('stream'),
  }
}

/** Its body comes along, which nobody keeps. */
export function aheadQuestions(stream: string, lastDeliveredId: string): Questions<AheadFacts> {
  return {
    ahead: {
      call: xrange(stream, `(${lastDeliveredId}`, '+', 1),
      right: '+xrange',
      read: (reply) => idOf(items(reply)[0]),
    },
  }
}

function streamQuestion(key: string): Question<Found> {
  return {
    call: ['xinfo', 'STREAM', key],
    right: '+xinfo|stream',
    read: readStream,
    answerOf: (error) => (isMissing(error) ? 'missing' : error.is('WRONGTYPE') ? 'another type' : undefined),
  }
}

function isMissing(error: RedisReplyError): boolean {
  return error.is('NOGROUP') || /no such key/i.test(error.message)
}

function readInfo(text: string): ServerInfo {
  return Object.fromEntries([...text.matchAll(/^([\w-]+):(.*?)\r?$/gm)].map(([, name, value]) => [name, value]))
}

function readStream(reply: Reply): StreamInfo {
  const record = asRecord(reply)
  return {
    length: Number(record.length),
    lastGeneratedId: asText(record['last-generated-id']),
    firstId: idOf(record['first-entry']),
    lastId: idOf(record['last-entry']),
    entriesAdded: whole(record['entries-added']),
  }
}

function readGroup(reply: Reply): GroupInfo {
  const record = asRecord(reply)
  return {
    name: asText(record.name),
    pending: Number(record.pending),
    lastDeliveredId: asText(record['last-delivered-id']),
    entriesRead: whole(record['entries-read']),
    lag: whole(record.lag),
  }
}

function readPending(reply: Reply): PendingEntry {
  const [id, owner, idleMs, deliveryCount] = items(reply)
  return { id: asText(id), owner: asText(owner), idleMs: Number(idleMs), deliveryCount: Number(deliveryCount) }
}

/** RESP2 has members and scores in turn, RESP3 pairs. */
function readWaits(reply: Reply): ReadonlyMap<string, number> | undefined {
  const flat = items(reply).flatMap((item) => (Array.isArray(item) ? item : [item])) as Reply[]
  if (flat.length >= 2 * WAITS) return undefined
  const waits = new Map<string, number>()
  for (let at = 0; at + 1 < flat.length; at += 2) waits.set(asText(flat[at]), Number(asText(flat[at + 1])))
  return waits
}

function idOf(entry: Reply | undefined): string | undefined {
  const [id] = items(entry)
  return id === undefined || id === null ? undefined : asText(id)
}

function whole(reply: Reply | undefined): number | undefined {
  return reply === undefined || reply === null ? undefined : Number(asText(reply))
}
