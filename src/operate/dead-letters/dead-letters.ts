import type { DeadLetter, UnreadableDeadLetter } from '../../core/dead-letter/parse-dead-letter.ts'
import { assertBoolean, assertFunction, assertOneOf, wrongUseError } from '../../core/options.ts'
import { RedisReplyError } from '../../errors.ts'
import type { Connection } from '../../group/connection.ts'
import { laneOfLetter, namedLaneKeys } from '../../group/ordering.ts'
import { xdel } from '../../group/redis/commands/xdel.ts'
import { xlen } from '../../group/redis/commands/xlen.ts'
import { dropInOrderScript, redriveInOrderScript } from '../../group/redis/order/letters-of-lanes.ts'
import { explainOtherSlot } from '../../group/redis/other-slot.ts'
import { REDRIVE_SCRIPT_ANSWERS, redriveScript } from '../../group/redis/scripts/redrive.ts'
import type { RedisCall } from '../../group/redis/sender.ts'
import type { RedisReply } from '../../group/redis/transport.ts'
import type { DeadLetterFilters, DeadLetterSource, OpenedDeadLetters } from './dead-letter-pages.ts'
import { DEAD_LETTER_FILTER_NAMES, openDeadLetters, pagesOf, SELECTIVE_FILTER_NAMES } from './dead-letter-pages.ts'

/** Where the letters are, and which of them. */
export interface ListDeadLettersOptions extends DeadLetterFilters {
  /** A connection to a server. */
  readonly redis: Connection
}

/** What all that changes dead letters takes. */
interface ChangeOptions<Outcome extends string> extends ListDeadLettersOptions {
  /** Every letter of the group. Must be said where no filter but `limit` is given. */
  readonly all?: boolean
  /** Changes nothing, and says what would become of each letter. Default false. */
  readonly dryRun?: boolean
  /** Called with what was done, after each page. */
  readonly onProgress?: (progress: DeadLetterProgress<Outcome>) => void
  /** Once aborted no further page is begun; the counts so far come back. */
  readonly signal?: AbortSignal
}

/** How far it has got. */
export interface DeadLetterProgress<Outcome extends string> {
  /** Letters that were inspected so far, also those that do not fit. */
  readonly looked: number
  /** Letters that are to be inspected, at most. */
  readonly total: number
  readonly counts: Readonly<Record<Outcome | 'found', number>>
  /** What became of which letter since the last call. */
  readonly done: readonly { readonly letter: DeadLetter | UnreadableDeadLetter; readonly outcome: Outcome }[]
}

/**
 * What became of a letter. All but `redriven`, `republished` and `gone` leave it where it is.
 *
 * - `redriven`: its entry is pending again, and the next claimer starts it as if for the first time.
 * - `republished`: its entry had been trimmed, and was appended anew.
 * - `pending`: its entry is pending already, as after a lost group or a second letter of the same entry.
 * - `unread`: the group is set back before the entry, and will read it by itself. Once it has, the letter has served its purpose.
 * - `trimmed`: its entry is no longer in the stream.
 * - `packed`: the same, and it has too many fields to be appended by a script.
 * - `othersBehind`: the same, and another group has not read the stream to its end.
 * - `noGroup`: the stream or the group does not exist.
 * - `unreadable`: it is no dead letter of ours.
 * - `gone`: another had it first, or this request was sent again since its answer was lost.
 */
export type RedriveOutcome = keyof typeof REDRIVE_SCRIPT_ANSWERS | 'unreadable'

/** `found` is how many letters fit: the sum of the others. */
export type RedriveCounts = Readonly<Record<RedriveOutcome | 'found', number>>

export interface RedriveDeadLettersOptions extends ChangeOptions<RedriveOutcome> {
  /**
   * What to do with an entry that was trimmed from the stream, which can only be appended under a new id. Default: nothing, it stays a letter.
   *
   * - `'group'`: append it only for this group. The stream's other groups are moved past it, which takes that they have read all that is
   *   there; else the letter stays, `othersBehind`. Readers without a group see it, and so does a group that is made later, or made again
   *   after it was lost.
   * - `'all'`: append it for every group of the stream.
   */
  readonly republish?: 'group' | 'all'
}

/**
 * - `dropped`: it is no more.
 * - `unreadable`: it is no dead letter of ours, and its id was not given.
 * - `gone`: another had it first, or this request was sent again since its answer was lost.
 */
export type DropOutcome = 'dropped' | 'unreadable' | 'gone'

/** `found` is how many letters fit: the sum of the others. */
export type DropCounts = Readonly<Record<DropOutcome | 'found', number>>

export interface DropDeadLettersOptions extends ChangeOptions<DropOutcome> {}

const CHANGE_OPTIONS = [...DEAD_LETTER_FILTER_NAMES, 'all', 'dryRun', 'onProgress', 'signal']

/**
 * Goes through the dead letters of a group, oldest first, in pages of about 4 MB. What is no letter of ours has a `problem`.
 *
 * @throws {TypeError | RangeError} A bad option.
 * @throws {RedisReplyError | RedisConnectionError} The server refused, or could not be reached.
 */
export function listDeadLetters(
  source: DeadLetterSource,
  options: ListDeadLettersOptions,
): AsyncIterable<DeadLetter | UnreadableDeadLetter> {
  return flatten(openDeadLetters('list dead letters', source, options, DEAD_LETTER_FILTER_NAMES))
}

async function* flatten(letters: OpenedDeadLetters): AsyncGenerator<DeadLetter | UnreadableDeadLetter> {
  for await (const page of pagesOf(letters, false)) yield* page.letters
}

/**
 * Reads one dead letter.
 *
 * @returns `undefined`: there is none of that id, or it is another group's.
 * @throws {TypeError | RangeError} A bad option.
 * @throws {RedisReplyError | RedisConnectionError} The server refused, or could not be reached.
 */
export async function readDeadLetter(
  source: DeadLetterSource,
  id: string,
  options: { readonly redis: Connection },
): Promise<DeadLetter | UnreadableDeadLetter | undefined> {
  const one = openDeadLetters('read a dead letter', source, { ...options, ids: [id] }, ['ids'])
  for await (const letter of flatten(one)) return letter
  return undefined
}

/**
 * Puts the entries of dead letters back to work for the group that failed them, and for no other: each becomes pending again under its own
 * id, its deliveries count anew, and the claimer's next run starts it; with `orderedBy` it goes before all that is undone of its key. The letter goes in the same step. Letters that come in meanwhile
 * are left alone. More than one operator may do this at once.
 *
 * What is redriven is pending: with more of it than `maxPending`, pollers read nothing new until the claimer has caught up.
 *
 * @throws {TypeError | RangeError} A bad option, or neither a filter nor `all`.
 * @throws {RedisReplyError | RedisConnectionError} The server refused, or could not be reached. What was done is done; `onProgress` was called.
 */
export async function redriveDeadLetters(
  source: DeadLetterSource,
  options: RedriveDeadLettersOptions,
): Promise<RedriveCounts> {
  const action = 'redrive dead letters'
  const letters = openDeadLetters(action, source, options, [...CHANGE_OPTIONS, 'republish'])
  checkChange(action, options)
  const { republish, dryRun } = options
  if (republish !== undefined) assertOneOf(action, 'republish', republish, ['group', 'all'])
  const { keys, group } = letters
  return change(letters, options, {
    outcomes: [...OUTCOMES, 'unreadable'],
    answers: new Map(OUTCOMES.map((outcome) => [REDRIVE_SCRIPT_ANSWERS[outcome], outcome])),
    callFor: (letter) =>
      letter.problem !== undefined
        ? 'unreadable'
        : redriveCall(letters, letter, [
            keys.stream,
            group,
            letter.id,
            letter.entryId,
            republish ?? '',
            dryRun ? 1 : 0,
          ]),
  })
}

/**
 * Drops dead letters for good; a key that waits for one goes on. What is no letter of ours goes only where its id is given. Letters that come in meanwhile are left alone. More
 * than one operator may do this at once.
 *
 * @throws {TypeError | RangeError} A bad option, or neither a filter nor `all`.
 * @throws {RedisReplyError | RedisConnectionError} The server refused, or could not be reached. What was done is done; `onProgress` was called.
 */
export async function dropDeadLetters(source: DeadLetterSource, options: DropDeadLettersOptions): Promise<DropCounts> {
  const action = 'drop dead letters'
  const letters = openDeadLetters(action, source, options, CHANGE_OPTIONS)
  checkChange(action, options)
  const { ids, dryRun } = options
  return change(letters, options, {
    outcomes: ['dropped', 'unreadable', 'gone'],
    answers: new Map([
      [1, 'dropped'],
      [0, 'gone'],
    ]),
    callFor(letter) {
      if (letter.problem !== undefined && ids === undefined) return 'unreadable'
      return dryRun ? 'dropped' : dropCall(letters, letter)
    },
  })
}

/** Letters of an ordering key may stand in its lane. */
function redriveCall({ keys }: OpenedDeadLetters, { orderingKey }: DeadLetter, args: readonly (string | number)[]) {
  const touched = [keys.stream, keys.state, keys.due, keys.deadLetters]
  if (orderingKey === undefined) return { script: redriveScript, keys: touched, args }
  return {
    script: redriveInOrderScript,
    keys: [...touched, keys.waiting, ...namedLaneKeys(keys)],
    args: [...args, laneOfLetter(orderingKey)],
  }
}

function dropCall({ keys, group }: OpenedDeadLetters, letter: DeadLetter | UnreadableDeadLetter): RedisCall {
  if (letter.problem !== undefined || letter.orderingKey === undefined) return xdel(keys.deadLetters, [letter.id])
  return {
    script: dropInOrderScript,
    keys: [keys.stream, keys.deadLetters, keys.due, keys.waiting, ...namedLaneKeys(keys)],
    args: [group, letter.id, letter.entryId, laneOfLetter(letter.orderingKey)],
  }
}

const OUTCOMES = Object.keys(REDRIVE_SCRIPT_ANSWERS) as (keyof typeof REDRIVE_SCRIPT_ANSWERS)[]

function checkChange<Outcome extends string>(action: string, options: ChangeOptions<Outcome>): void {
  const { all, dryRun, onProgress } = options
  for (const [name, flag] of Object.entries({ all, dryRun })) if (flag !== undefined) assertBoolean(action, name, flag)
  if (onProgress !== undefined) assertFunction(action, 'onProgress', onProgress)
  // a filter that is undefined by mistake must not mean everything
  if (all || SELECTIVE_FILTER_NAMES.some((name) => options[name] !== undefined)) return
  throw wrongUseError(action, `one of ${SELECTIVE_FILTER_NAMES.join(', ')} must say which, or all: true`)
}

/** How letters are changed. */
interface Change<Outcome extends string> {
  readonly outcomes: readonly Outcome[]
  /** What to send for a letter, or what becomes of it without. */
  readonly callFor: (letter: DeadLetter | UnreadableDeadLetter) => RedisCall | Outcome
  /** What the server's answers to that mean. */
  readonly answers: ReadonlyMap<RedisReply, Outcome>
}

async function change<Outcome extends string>(
  letters: OpenedDeadLetters,
  { signal, onProgress }: ChangeOptions<Outcome>,
  { outcomes, callFor, answers }: Change<Outcome>,
): Promise<Record<Outcome | 'found', number>> {
  const counts = Object.fromEntries(['found', ...outcomes].map((name) => [name, 0])) as Record<
    Outcome | 'found',
    number
  >
  const total = await totalOf(letters)
  let looked = 0
  for await (const page of pagesOf(letters, true)) {
    if (signal?.aborted) break
    const results = await resultsOf(page.letters.map(callFor))
    const done = page.letters.flatMap((letter, n) => {
      const outcome = results[n]
      return typeof outcome === 'string' ? [{ letter, outcome }] : []
    })
    looked += page.looked
    counts.found += done.length
    for (const { outcome } of done) counts[outcome]++
    onProgress?.({ looked, total, counts: { ...counts }, done })
    const refusal = results.find((result) => result instanceof RedisReplyError)
    if (refusal) throw refusal
  }
  return counts

  async function resultsOf(wanted: readonly (RedisCall | Outcome)[]): Promise<(Outcome | RedisReplyError)[]> {
    const calls = wanted.filter((one) => typeof one !== 'string')
    const replies = (calls.length > 0 ? await letters.sender.send(calls) : []).values()
    return wanted.map((one) => {
      if (typeof one === 'string') return one
      const reply = explainOtherSlot(replies.next().value ?? null, letters.keys)
      if (reply instanceof RedisReplyError) return reply
      return answers.get(reply) ?? new RedisReplyError('ERR the answer is none that is known')
    })
  }
}

async function totalOf({ sender, keys, filters }: OpenedDeadLetters): Promise<number> {
  return filters.ids?.length ?? Number(await sender.call(xlen(keys.deadLetters)))
}
