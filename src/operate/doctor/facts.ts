import type { Entry } from '../../core/entry.ts'
import type { ConsumerKeys } from '../../core/keys.ts'
import { PARKED } from '../../core/keys.ts'
import { NUMBERS } from '../../core/rows.ts'
import type { Need } from '../../define/policy-needs.ts'
import type { RedisReplyError } from '../../errors.ts'
import { CLAIMER_SLOTS, slotNames } from '../../group/consumer-names.ts'
import { asText, items } from '../../group/redis/commands/reply.ts'
import type { ConsumerInfo } from '../../group/redis/commands/xinfo-consumers.ts'
import type { GroupInfo } from '../../group/redis/commands/xinfo-groups.ts'
import type { StreamInfo } from '../../group/redis/commands/xinfo-stream.ts'
import type { PendingEntry } from '../../group/redis/commands/xpending.ts'
import type { Question, Questions } from '../ask.ts'
import {
  type Absence,
  absenceBy,
  aheadQuestion,
  consumersQuestion,
  groupsQuestion,
  memberQuestion,
  oldestQuestion,
  pausesQuestion,
  streamQuestion,
  timeQuestion,
} from '../questions.ts'
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
type Found = StreamInfo | Absence

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
  /** What somebody paused, as it lies beside the group; `''` if nothing is. */
  readonly paused: string
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
    now: timeQuestion,
    echo: echoQuestion(probeKey),
  }
}

export function streamQuestions(stream: string): Questions<StreamFacts> {
  return {
    stream: foundQuestion(stream),
    groups: { ...groupsQuestion(stream), answerOf: (error) => (absenceBy(error) ? [] : undefined) },
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
    consumers: { ...consumersQuestion(stream, group), answerOf: noneIfMissing },
    pending: pendingQuestion(stream, group),
    oldest: { ...oldestQuestion(stream, group, OLDEST), answerOf: noneIfMissing },
    pollers: heldQuestion(keys, pollers.slice(0, slots)),
    // parked never has a lease: it is there for those who have all the slots
    beyond: heldQuestion(keys, [...pollers.slice(slots), PARKED]),
    claimers: heldQuestion(keys, slotNames('claimer', CLAIMER_SLOTS)),
    deadLetters: foundQuestion(deadLetters),
    mark: knownMember(keys, 'mark'),
    keysOf: knownMember(keys, 'stream'),
    paused: pausesQuestion(keys),
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

function knownMember(keys: ConsumerKeys, name: string): Question<string | undefined> {
  const question = memberQuestion(keys, name)
  return { ...question, read: (reply) => (reply === null ? undefined : question.read(reply)) }
}

export function rightsQuestions(stream: string, needs: readonly Need[]): Questions<RightsFacts> {
  return { lacking: rightsQuestion(stream, needs) }
}

export function aheadQuestions(stream: string, lastDeliveredId: string): Questions<AheadFacts> {
  const question: Omit<Question<readonly Entry[]>, 'answerOf'> = aheadQuestion(stream, lastDeliveredId, 1)
  return { ahead: { ...question, read: (reply) => question.read(reply)[0]?.id } }
}

function foundQuestion(key: string): Question<Found> {
  return { ...streamQuestion(key), answerOf: absenceBy }
}

function noneIfMissing(error: RedisReplyError): [] | undefined {
  return isMissing(error) ? [] : undefined
}

function isMissing(error: RedisReplyError): boolean {
  return error.is('NOGROUP') || absenceBy(error) === 'missing'
}

function readInfo(text: string): ServerInfo {
  return Object.fromEntries([...text.matchAll(/^([\w-]+):(.*?)\r?$/gm)].map(([, name, value]) => [name, value]))
}
