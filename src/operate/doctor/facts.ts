import type { ConsumerKeys } from '../../core/keys.ts'
import { PARKED } from '../../core/keys.ts'
import { NUMBERS } from '../../core/rows.ts'
import type { Need } from '../../define/policy-needs.ts'
import type { RedisReplyError } from '../../errors.ts'
import { CLAIMER_SLOTS, slotNames } from '../../group/consumer-names.ts'
import { asText, items } from '../../group/redis/commands/reply.ts'
import { parseTime, time } from '../../group/redis/commands/time.ts'
import { type ConsumerInfo, parseXinfoConsumers, xinfoConsumers } from '../../group/redis/commands/xinfo-consumers.ts'
import { type GroupInfo, parseXinfoGroups, xinfoGroups } from '../../group/redis/commands/xinfo-groups.ts'
import { parseXinfoStream, type StreamInfo, xinfoStream } from '../../group/redis/commands/xinfo-stream.ts'
import { type PendingEntry, parseXpending, xpending } from '../../group/redis/commands/xpending.ts'
import { parseXrange, xrange } from '../../group/redis/commands/xrange.ts'
import type { Reply } from '../../group/redis/transport.ts'
import type { Question, Questions } from './ask.ts'
import type { Echo } from './echo.ts'
import { echoQuestion } from './echo.ts'
import { type Lacking, rightsQuestion } from './rights.ts'

/** What the server says of itself: INFO's members by name. */
type ServerInfo = Readonly<Record<string, string>>

export interface ServerFacts {
  readonly info: ServerInfo
  /** The server's clock, in milliseconds since 1970. */
  readonly now: number
  readonly echo: Echo
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

export interface GroupFacts {
  readonly consumers: readonly ConsumerInfo[]
  readonly pending: PendingSum
  /** The ten oldest. */
  readonly oldest: readonly PendingEntry[]
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

/** What is asked of a group whose policies need rights. */
export interface RightsFacts {
  /** Those that whoever asks lacks; `undefined`: the server cannot know. */
  readonly lacking: readonly Lacking[] | undefined
}

const OLDEST = 10

/** @param probeKey A key that scripts may name; it is not inspected. */
export function serverQuestions(probeKey: string): Questions<ServerFacts> {
  return {
    info: { call: ['info'], right: '+info', read: (reply) => readInfo(asText(reply)) },
    now: { call: time, right: '+time', read: parseTime },
    echo: echoQuestion(probeKey),
  }
}

export function streamQuestions(stream: string): Questions<StreamFacts> {
  return {
    stream: streamQuestion(stream),
    groups: {
      call: xinfoGroups(stream),
      right: '+xinfo|groups',
      read: parseXinfoGroups,
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
  const { stream, deadLetters } = keys
  const pollers = slotNames('poller', NUMBERS.maxPollers.max)
  return {
    consumers: {
      call: xinfoConsumers(stream, group),
      right: '+xinfo|consumers',
      read: parseXinfoConsumers,
      answerOf: (error) => (isMissing(error) ? [] : undefined),
    },
    pending: pendingQuestion(stream, group),
    oldest: {
      call: xpending(stream, group, OLDEST),
      right: '+xpending',
      read: parseXpending,
      answerOf: (error) => (isMissing(error) ? [] : undefined),
    },
    pollers: heldQuestion(keys, pollers.slice(0, slots)),
    // parked never has a lease: it is there for those who have all the slots
    beyond: heldQuestion(keys, [...pollers.slice(slots), PARKED]),
    claimers: heldQuestion(keys, slotNames('claimer', CLAIMER_SLOTS)),
    deadLetters: streamQuestion(deadLetters),
    mark: memberQuestion(keys, 'mark'),
    keysOf: memberQuestion(keys, 'stream'),
  }
}

const NOTHING: PendingSum = { count: 0, oldestId: undefined }

function pendingQuestion(stream: string, group: string): Question<PendingSum> {
  return {
    call: ['xpending', stream, group],
    right: '+xpending',
    read: (reply) => {
      const [count, oldestId] = items(reply)
      return Number(count) > 0 ? { count: Number(count), oldestId: asText(oldestId) } : NOTHING
    },
    answerOf: (error) => (isMissing(error) ? NOTHING : undefined),
  }
}

/** How many of these names have a lease. */
function heldQuestion(keys: ConsumerKeys, names: readonly string[]): Question<number> {
  return { call: ['exists', ...names.map((name) => keys.slot(name))], right: '+exists', read: Number }
}

/** A member of the group's state. */
function memberQuestion({ state }: ConsumerKeys, name: string): Question<string | undefined> {
  const read = (reply: Reply) => (reply === null ? undefined : asText(reply))
  return { call: ['hget', state, name], right: '+hget', read }
}

export function rightsQuestions(stream: string, needs: readonly Need[]): Questions<RightsFacts> {
  return { lacking: rightsQuestion(stream, needs) }
}

/** Its body comes along, which nobody keeps. */
export function aheadQuestions(stream: string, lastDeliveredId: string): Questions<AheadFacts> {
  return {
    ahead: {
      // nothing comes after the last id, and the server refuses to be asked
      call: xrange(stream, `(${lastDeliveredId}`, '+', 1),
      right: '+xrange',
      read: (reply) => parseXrange(reply)[0]?.id,
    },
  }
}

function streamQuestion(key: string): Question<Found> {
  return {
    call: xinfoStream(key),
    right: '+xinfo|stream',
    read: parseXinfoStream,
    answerOf: (error) => (isMissing(error) ? 'missing' : error.is('WRONGTYPE') ? 'another type' : undefined),
  }
}

function isMissing(error: RedisReplyError): boolean {
  return error.is('NOGROUP') || /no such key/i.test(error.message)
}

function readInfo(text: string): ServerInfo {
  return Object.fromEntries([...text.matchAll(/^([\w-]+):(.*?)\r?$/gm)].map(([, name, value]) => [name, value]))
}
