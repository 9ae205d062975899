import { splitIntoChunks } from '../../core/chunks.ts'
import type { DeadLetter, UnreadableDeadLetter } from '../../core/dead-letter/parse-dead-letter.ts'
import { parseDeadLetter } from '../../core/dead-letter/parse-dead-letter.ts'
import type { Entry } from '../../core/entry.ts'
import { compareEntryIds, parseEntryId } from '../../core/entry.ts'
import type { ConsumerKeys } from '../../core/keys.ts'
import {
  assertInteger,
  assertKnownKeys,
  assertKnownOptions,
  assertNumber,
  assertObject,
  assertOneOf,
  assertText,
  wrongUseError,
} from '../../core/options.ts'
import type { DeadLetterReason } from '../../core/outcome.ts'
import { DEAD_LETTER_REASONS } from '../../core/outcome.ts'
import { AdaptivePageSize } from '../../core/page-size.ts'
import type { Consumer } from '../../define/consumer.ts'
import { resolveConsumerKeys } from '../../define/consumer-settings.ts'
import type { Connection } from '../../group/connection.ts'
import { laneOfKey, laneOfLetter } from '../../group/ordering.ts'
import { parseTime, timeCommand } from '../../group/redis/commands/time.ts'
import { newestEntryCommand, parseXrange, xrange } from '../../group/redis/commands/xrange.ts'
import { createOperatorSender } from '../../group/redis/redis-connection.ts'
import type { CallSender } from '../../group/redis/sender.ts'

/** Whose dead letters: a consumer's, or those of a group by its name. */
export type DeadLetterSource = Consumer | DeadLetterGroup

/** A group whose consumer is not at hand. */
export interface DeadLetterGroup {
  readonly stream: string
  readonly group: string
  /** The dead-letter stream, if the consumer names one of its own. Default `{<stream>}:<group>:dlq`. */
  readonly deadLetters?: string
  /** As the consumer's `deadLetters.allowOtherSlot` says. Default false. */
  readonly allowOtherSlot?: boolean
}

/** Which dead letters; those that fit all that is given. Default: all of the group's. */
export interface DeadLetterFilters {
  /** Event types. */
  readonly types?: readonly string[]
  readonly reasons?: readonly DeadLetterReason[]
  /** Ordering keys, as letters have them. */
  readonly orderingKeys?: readonly string[]
  /** Set aside that many milliseconds ago or earlier, by the server's clock. */
  readonly olderThanMs?: number
  /** Set aside within that many milliseconds, by the server's clock. */
  readonly newerThanMs?: number
  /** Ids of letters in the dead-letter stream; what is no longer there is passed over. */
  readonly ids?: readonly string[]
  /** No letter after this one: what came since somebody looked stays. */
  readonly upToId?: string
  /** No more than that many, the oldest. Default: no limit. */
  readonly limit?: number
}

export const DEAD_LETTER_FILTER_NAMES = [
  'types',
  'reasons',
  'orderingKeys',
  'olderThanMs',
  'newerThanMs',
  'ids',
  'upToId',
  'limit',
] as const

/** The filters that choose; `limit` alone does not. */
export const SELECTIVE_FILTER_NAMES = [
  'types',
  'reasons',
  'orderingKeys',
  'olderThanMs',
  'newerThanMs',
  'ids',
  'upToId',
] as const

/** A group's dead letters, and what can be sent to where they are. */
export interface OpenedDeadLetters {
  readonly group: string
  readonly keys: ConsumerKeys
  readonly sender: CallSender
  readonly filters: DeadLetterFilters
}

/**
 * Checks what every function over dead letters takes.
 *
 * @param known The names of its options beside those.
 * @throws {TypeError | RangeError} A bad option, an unknown one, or a connection to no server.
 */
export function openDeadLetters(
  action: string,
  source: DeadLetterSource,
  options: DeadLetterFilters & { readonly redis: Connection },
  known: readonly string[],
): OpenedDeadLetters {
  assertObject(action, 'the source', source)
  const { stream, group } = source
  assertText(action, 'stream', stream)
  assertText(action, 'group', group)
  const keys = 'keys' in source ? source.keys : keysOfGroup(action, source)
  assertKnownOptions(action, options, ['redis', ...known])
  checkFilters(action, options)
  return { group, keys, sender: createOperatorSender(action, options.redis), filters: options }
}

function keysOfGroup(action: string, source: DeadLetterGroup): ConsumerKeys {
  assertKnownKeys(action, source, ['stream', 'group', 'deadLetters', 'allowOtherSlot'])
  const { stream, group, deadLetters, allowOtherSlot } = source
  return resolveConsumerKeys(action, stream, group, {
    ...(deadLetters !== undefined && { stream: deadLetters }),
    ...(allowOtherSlot !== undefined && { allowOtherSlot }),
  })
}

function checkFilters(action: string, options: DeadLetterFilters): void {
  const { types, reasons, orderingKeys, olderThanMs, newerThanMs, ids, upToId, limit } = options
  for (const [name, list] of Object.entries({ types, reasons, orderingKeys, ids }))
    if (list !== undefined && !Array.isArray(list))
      throw wrongUseError(action, `${name} must be an array, got ${typeof list}`)
  for (const type of types ?? []) assertText(action, 'each of types', type)
  for (const reason of reasons ?? []) assertOneOf(action, 'each of reasons', reason, DEAD_LETTER_REASONS)
  for (const key of orderingKeys ?? []) assertText(action, 'each of orderingKeys', key)
  for (const id of ids ?? []) {
    assertText(action, 'each of ids', id)
    parseEntryId(id)
  }
  if (upToId !== undefined) parseEntryId(upToId)
  for (const [name, ms] of Object.entries({ olderThanMs, newerThanMs }))
    if (ms !== undefined) assertNumber(action, name, ms, 0, Number.MAX_SAFE_INTEGER)
  if (limit !== undefined) assertInteger(action, 'limit', limit, 1)
}

/** Some letters that were inspected together. */
export interface DeadLetterPage {
  /** How many, also those that do not fit. */
  readonly looked: number
  /** Those that fit, oldest first. */
  readonly letters: readonly (DeadLetter | UnreadableDeadLetter)[]
}

/**
 * Goes through a group's dead letters, oldest first, page by page. Letters that another group or stream has in the same dead-letter stream
 * are passed over.
 *
 * @param isBounded Ends at the letter that is the last one now, since a redriven entry may come back as a new letter.
 */
export async function* pagesOf(letters: OpenedDeadLetters, isBounded: boolean): AsyncGenerator<DeadLetterPage> {
  const { filters } = letters
  const range = await rangeOf(letters, isBounded)
  let room = filters.limit ?? Infinity
  for await (const entries of filters.ids ? entriesById(letters, filters.ids, range) : entriesIn(letters, range)) {
    const fitting = entries
      .map(({ id, fields }) => parseDeadLetter(id, fields))
      .filter((letter) => fits(letters, letter))
    const page = { looked: entries.length, letters: fitting.slice(0, room) }
    room -= page.letters.length
    yield page
    if (room === 0) return
  }
}

function fits({ group, keys, filters }: OpenedDeadLetters, letter: DeadLetter | UnreadableDeadLetter): boolean {
  const { types, reasons, orderingKeys } = filters
  if (letter.problem !== undefined) return !types && !reasons && !orderingKeys
  if (letter.stream !== keys.stream || letter.group !== group) return false
  if (reasons && !(reasons as readonly string[]).includes(letter.reason)) return false
  if (orderingKeys && !orderingKeys.some((key) => isOfKey(letter, key))) return false
  return !types || (letter.eventType !== undefined && types.includes(letter.eventType))
}

/** Whether a letter is of an ordering key, as it is or as a letter says it. */
function isOfKey({ orderingKey }: DeadLetter, key: string): boolean {
  return orderingKey !== undefined && [laneOfKey(key), laneOfLetter(key)].includes(laneOfLetter(orderingKey))
}

/** Ids, both inclusive. */
interface Range {
  readonly first: string
  readonly last: string
}

const FIRST_ID = '0-0'
const LAST_SEQ = String(2n ** 64n - 1n)
const LAST_ID = `${LAST_SEQ}-${LAST_SEQ}`

async function rangeOf({ keys, sender, filters }: OpenedDeadLetters, isBounded: boolean): Promise<Range> {
  const { olderThanMs, newerThanMs, upToId } = filters
  let [first, last] = [FIRST_ID, LAST_ID]
  if (olderThanMs !== undefined || newerThanMs !== undefined) {
    const now = parseTime(await sender.call(timeCommand))
    const ago = (ms: number) => Math.max(0, Math.floor(now - ms))
    if (newerThanMs !== undefined) first = `${ago(newerThanMs)}-0`
    if (olderThanMs !== undefined) last = `${ago(olderThanMs)}-${LAST_SEQ}`
  }
  if (upToId !== undefined && compareEntryIds(upToId, last) < 0) last = upToId
  if (!isBounded) return { first, last }
  const [newest] = parseXrange(await sender.call(newestEntryCommand(keys.deadLetters)))
  if (!newest || compareEntryIds(newest.id, last) > 0) return { first, last: newest ? last : FIRST_ID }
  return { first, last: newest.id }
}

async function* entriesIn(
  { keys, sender }: OpenedDeadLetters,
  { first, last }: Range,
): AsyncGenerator<readonly Entry[]> {
  const size = new AdaptivePageSize()
  let from = first
  while (true) {
    const { count } = size
    const entries = parseXrange(await sender.call(xrange(keys.deadLetters, from, last, count)))
    const end = entries.at(-1)
    if (!end) return
    yield entries
    if (entries.length < count) return
    from = `(${end.id}`
    size.saw(entries)
  }
}

/** Letters that are looked up by their ids before they are handed on. */
const IDS_AT_ONCE = 10

async function* entriesById(
  { keys, sender }: OpenedDeadLetters,
  ids: readonly string[],
  { first, last }: Range,
): AsyncGenerator<readonly Entry[]> {
  const full = ids.map(parseEntryId).map(({ ms, seq }) => `${ms}-${seq}`)
  const wanted = [...new Set(full)]
    .filter((id) => compareEntryIds(id, first) >= 0 && compareEntryIds(id, last) <= 0)
    .sort(compareEntryIds)
  for (const chunk of splitIntoChunks(wanted, IDS_AT_ONCE)) {
    const found: Entry[] = []
    for (const id of chunk) found.push(...parseXrange(await sender.call(xrange(keys.deadLetters, id, id, 1))))
    yield found
  }
}
