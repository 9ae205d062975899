import type { Entry } from '../../core/entry.ts'
import type { OpenBreaker } from '../../core/gates.ts'
import type { ConsumerKeys } from '../../core/keys.ts'
import { PARKED_CONSUMER } from '../../core/keys.ts'
import { CONSUMER_NUMBER_OPTIONS } from '../../core/rows.ts'
import type { PolicyKeyNeed } from '../../define/policy-needs.ts'
import type { RedisReplyError } from '../../errors.ts'
import { CLAIMER_SLOT_COUNT, slotConsumerNames } from '../../group/consumer-names.ts'
import { replyAsText, replyItems } from '../../group/redis/commands/reply.ts'
import type { ConsumerInfo } from '../../group/redis/commands/xinfo-consumers.ts'
import type { GroupInfo } from '../../group/redis/commands/xinfo-groups.ts'
import type { StreamInfo } from '../../group/redis/commands/xinfo-stream.ts'
import type { PendingEntry } from '../../group/redis/commands/xpending.ts'
import type { QuestionsByName, ServerQuestion } from '../ask.ts'
import { breakersQuestion } from '../inspect/flow.ts'
import {
  consumersQuestion,
  groupStateMemberQuestion,
  groupsQuestion,
  lettersTrimmedQuestion,
  memoryUsageQuestion,
  oldestPendingQuestion,
  pausesQuestion,
  readStreamAbsence,
  type StreamAbsence,
  streamInfoQuestion,
  timeQuestion,
  unreadEntriesQuestion,
} from '../questions.ts'
import { type DelayFacts, delayFactQuestions } from './delay-facts.ts'
import type { EchoedBytes } from './echoed-bytes.ts'
import { echoedBytesQuestion } from './echoed-bytes.ts'
import { type KeepingFacts, keepingFactQuestions } from './keeping-facts.ts'
import { type MissingRight, missingRightsQuestion } from './rights.ts'

/** What the server says of itself: INFO's members by name. */
type ServerInfo = Readonly<Record<string, string>>

export interface ServerFacts {
  readonly info: ServerInfo
  /** The server's clock, in milliseconds since 1970. */
  readonly now: number
  readonly echo: EchoedBytes
}

/** What stands where a stream should. */
type Found = StreamInfo | StreamAbsence

export interface StreamFacts extends DelayFacts, KeepingFacts {
  readonly stream: Found
  readonly groups: readonly GroupInfo[]
  /** What it takes on the server, groups included; `undefined`: there is none. */
  readonly memoryUsage: number | undefined
  /** Milliseconds until the key expires; `undefined`: it does not. */
  readonly ttlMs: number | undefined
}

/** Pending entries of a group in sum. */
export interface PendingTotals {
  readonly count: number
  /** `undefined` if nothing is pending. */
  readonly oldestId: string | undefined
}

export interface GroupFacts {
  readonly consumers: readonly ConsumerInfo[]
  readonly pending: PendingTotals
  /** The ten oldest. */
  readonly oldest: readonly PendingEntry[]
  /** Leases held under the names of the slots, and under those beyond. */
  readonly pollers: number
  readonly beyond: number
  readonly claimers: number
  readonly deadLetters: Found
  /** Dead letters that were ever trimmed. */
  readonly lettersTrimmed: number
  /** Where a lost group is made again; `undefined`: there never was one of ours. */
  readonly mark: string | undefined
  /** What somebody paused, as it lies beside the group; `''` if nothing is. */
  readonly paused: string
  /** Circuit breakers that are open; none where whoever asks may not see them: only policies' users need to. */
  readonly breakers: readonly OpenBreaker[]
  /** The stream that the group's keys belong to. */
  readonly keysOf: string | undefined
}

/** What is asked once it is known how far a group has read. */
export interface UnreadEntriesFacts {
  /** The oldest entry that the group has not read; `undefined` if it has read all. */
  readonly ahead: string | undefined
}

/** What is asked of a group whose policies need rights. */
export interface RightsFacts {
  /** Those that whoever asks lacks; `undefined`: the server cannot know. */
  readonly lacking: readonly MissingRight[] | undefined
}

const OLDEST = 10

/** @param probeKey A key that scripts may name; it is not inspected. */
export function serverQuestions(probeKey: string): QuestionsByName<ServerFacts> {
  return {
    info: { call: ['info'], right: '+info', read: (reply) => readInfo(replyAsText(reply)) },
    now: timeQuestion,
    echo: echoedBytesQuestion(probeKey),
  }
}

export function streamQuestions(stream: string): QuestionsByName<StreamFacts> {
  return {
    stream: foundQuestion(stream),
    groups: { ...groupsQuestion(stream), answerOf: (error) => (readStreamAbsence(error) ? [] : undefined) },
    memoryUsage: memoryUsageQuestion(stream),
    ttlMs: {
      call: ['pttl', stream],
      right: '+pttl',
      read: (reply) => (Number(reply) >= 0 ? Number(reply) : undefined),
    },
    ...(delayFactQuestions(stream) as QuestionsByName<DelayFacts>),
    ...(keepingFactQuestions(stream) as QuestionsByName<KeepingFacts>),
  }
}

export function groupQuestions(group: string, keys: ConsumerKeys, slots: number): QuestionsByName<GroupFacts> {
  const { stream, deadLetters } = keys
  const pollers = slotConsumerNames('poller', CONSUMER_NUMBER_OPTIONS.maxPollers.max)
  return {
    consumers: { ...consumersQuestion(stream, group), answerOf: noneIfMissing },
    pending: pendingQuestion(stream, group),
    oldest: { ...oldestPendingQuestion(stream, group, OLDEST), answerOf: noneIfMissing },
    pollers: heldQuestion(keys, pollers.slice(0, slots)),
    // parked never has a lease: it is there for those who have all the slots
    beyond: heldQuestion(keys, [...pollers.slice(slots), PARKED_CONSUMER]),
    claimers: heldQuestion(keys, slotConsumerNames('claimer', CLAIMER_SLOT_COUNT)),
    deadLetters: foundQuestion(deadLetters),
    lettersTrimmed: lettersTrimmedQuestion(keys),
    mark: knownMember(keys, 'mark'),
    keysOf: knownMember(keys, 'stream'),
    paused: pausesQuestion(keys),
    breakers: { ...breakersQuestion(keys), answerOf: (error) => (error.is('NOPERM') ? [] : undefined) },
  }
}

const NOTHING: PendingTotals = { count: 0, oldestId: undefined }

function pendingQuestion(stream: string, group: string): ServerQuestion<PendingTotals> {
  return {
    call: ['xpending', stream, group],
    right: '+xpending',
    read: (reply) => {
      const [count, oldestId] = replyItems(reply)
      return Number(count) > 0 ? { count: Number(count), oldestId: replyAsText(oldestId) } : NOTHING
    },
    answerOf: (error) => (isMissing(error) ? NOTHING : undefined),
  }
}

/** How many of these names have a lease. */
function heldQuestion(keys: ConsumerKeys, names: readonly string[]): ServerQuestion<number> {
  return { call: ['exists', ...names.map((name) => keys.slot(name))], right: '+exists', read: Number }
}

function knownMember(keys: ConsumerKeys, name: string): ServerQuestion<string | undefined> {
  const question = groupStateMemberQuestion(keys, name)
  return { ...question, read: (reply) => (reply === null ? undefined : question.read(reply)) }
}

export function rightsQuestions(stream: string, needs: readonly PolicyKeyNeed[]): QuestionsByName<RightsFacts> {
  return { lacking: missingRightsQuestion(stream, needs) }
}

export function unreadEntriesQuestions(stream: string, lastDeliveredId: string): QuestionsByName<UnreadEntriesFacts> {
  const question: Omit<ServerQuestion<readonly Entry[]>, 'answerOf'> = unreadEntriesQuestion(stream, lastDeliveredId, 1)
  return { ahead: { ...question, read: (reply) => question.read(reply)[0]?.id } }
}

function foundQuestion(key: string): ServerQuestion<Found> {
  return { ...streamInfoQuestion(key), answerOf: readStreamAbsence }
}

function noneIfMissing(error: RedisReplyError): [] | undefined {
  return isMissing(error) ? [] : undefined
}

function isMissing(error: RedisReplyError): boolean {
  return error.is('NOGROUP') || readStreamAbsence(error) === 'missing'
}

function readInfo(text: string): ServerInfo {
  return Object.fromEntries([...text.matchAll(/^([\w-]+):(.*?)\r?$/gm)].map(([, name, value]) => [name, value]))
}
