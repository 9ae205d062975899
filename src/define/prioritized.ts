import type { ConsumerKeys } from '../core/keys.ts'
import { sharedStream, slotPrefix, withGatesOfSet } from '../core/keys.ts'
import { assertKnownOptions, assertNumber, assertObject, assertText, wrongUseError } from '../core/options.ts'
import { CONSUMER_NUMBER_OPTIONS } from '../core/rows.ts'
import { quotedValue } from '../errors.ts'
import type { PolicyDefinition } from './policy.ts'
import { SharedPlaces } from './shared-places.ts'
import type { StreamSet } from './stream-set.ts'

/** How the streams of a set stand to each other. */
export interface PrioritizedOptions<Priority extends string = string> {
  /**
   * By priority, 1 to 1,000 and never more than the one above: while all have work, a priority gets its weight of what all weights together are, in handlers that start and in
   * entries that are read. Default: twice the weight of the next lower one, 1 for the lowest.
   */
  readonly weights?: Readonly<Record<Priority, number>>
  /** The priority of what is published without one. Default: none; every event must have one. */
  readonly default?: NoInfer<Priority>
}

/** Streams that one consumer may have. */
const MOST_PRIORITIES = 8
const MOST_WEIGHT = 1_000
const PRIORITY = /^[A-Za-z0-9_-]{1,32}$/

/**
 * A set of streams, one a priority: `prioritized('jobs', ['high', 'normal', 'low'])` has the streams `{jobs}:high`, `{jobs}:normal` and `{jobs}:low`. What is published with
 * `{ priority }` goes into one of them; a consumer of the set runs what is of higher priority first, and never starves the lower.
 *
 * @param name As a stream's; with a hash tag, `{shop}:jobs`, the streams are `{shop}:jobs:high` and so on.
 * @param priorities The highest first: 2 to 8, each of 1 to 32 letters, digits, `_` and `-`.
 * @throws {TypeError | RangeError} A bad name, priority or option; the message names the rule and the value.
 */
export function prioritized<const Priority extends string>(
  name: string,
  priorities: readonly Priority[],
  options: PrioritizedOptions<Priority> = {},
): StreamSet {
  const action = `make prioritized streams ${quotedValue(name)}`
  assertText(action, 'name', name)
  const own = checkPriorities(action, priorities)
  assertKnownOptions(action, options, ['weights', 'default'])
  const weights = resolveWeights(action, own, options.weights)
  const { default: otherwise } = options
  if (otherwise !== undefined && !own.includes(otherwise))
    throw wrongUseError(action, `default must be one of ${listed(own)}, got ${quotedValue(otherwise)}`, RangeError)
  const prefix = slotPrefix(name)
  const streamIn = (priority: string) => `${prefix}:${priority}`
  const set: StreamSet = {
    name,
    priorities: own,
    streams: Object.freeze(own.map(streamIn)),
    markersOf: sharedStream(name),
    appendEach,
    streamOf(action: string, priority: unknown = otherwise) {
      if (own.includes(priority as string)) return streamIn(priority as string)
      const got = priority === undefined ? 'none' : quotedValue(priority)
      throw wrongUseError(action, `priority must be one of ${listed(own)}, got ${got}`, RangeError)
    },
    consumers(options, define) {
      // a key's events would be in several streams
      const { use } = options as { readonly use?: readonly (Partial<PolicyDefinition> | undefined)[] }
      if (Array.isArray(use) && use.some((policy) => policy?.kind === 'order'))
        throw wrongUseError(`define the consumers of ${quotedValue(name)}`, 'orderedBy is for a consumer of one stream')
      const { startAt = '0', maxBytes = CONSUMER_NUMBER_OPTIONS.maxBytes.default } = options
      if (startAt !== '0' && startAt !== '$')
        throw wrongUseError(
          `define consumer ${quotedValue(options.group)} on the streams of ${quotedValue(name)}`,
          `startAt must be "0" or "$", since an entry id is of one stream, got ${quotedValue(startAt)}`,
          RangeError,
        )
      // what is no number of bytes is refused as it is
      const bytes = maxBytes >= 1 ? Math.ceil(maxBytes / own.length) : maxBytes
      // one for these members: another group on the same streams has places of its own
      const share = (atOnce: number) => new SharedPlaces(atOnce)
      const shareGates = (keys: ConsumerKeys, group: string) => withGatesOfSet(keys, name, group)
      const members = own.map((priority, n) => {
        const weight = weights[n] as number
        const membership = Object.freeze({ name, priority, priorities: own, weight, shareGates, share })
        return define({ ...options, maxBytes: bytes, stream: streamIn(priority) }, membership)
      })
      return Object.freeze(members)
    },
  }
  return Object.freeze(set)
}

function checkPriorities(action: string, priorities: readonly string[]): readonly string[] {
  if (!Array.isArray(priorities) || priorities.length < 2 || priorities.length > MOST_PRIORITIES)
    throw wrongUseError(action, `priorities must be an array of 2 to ${MOST_PRIORITIES}, the highest first`, RangeError)
  for (const [n, priority] of priorities.entries()) {
    if (typeof priority !== 'string' || !PRIORITY.test(priority))
      throw wrongUseError(
        action,
        `each of priorities must be 1 to 32 letters, digits, "_" and "-", got ${quotedValue(priority)}`,
        RangeError,
      )
    if (priorities.indexOf(priority) < n)
      throw wrongUseError(action, `priority ${quotedValue(priority)} must appear once, got it twice`, RangeError)
  }
  return Object.freeze([...priorities])
}

function resolveWeights(
  action: string,
  priorities: readonly string[],
  given: Readonly<Record<string, number>> | undefined,
): readonly number[] {
  if (given === undefined) return priorities.map((_priority, n) => 2 ** (priorities.length - 1 - n))
  assertObject(action, 'weights', given)
  assertKnownOptions(`${action}: weights`, given, priorities)
  const weights = priorities.map((priority) => given[priority] as number)
  for (const [n, priority] of priorities.entries()) {
    assertNumber(action, `weights.${priority}`, weights[n], 1, MOST_WEIGHT)
    if (n > 0 && (weights[n] as number) > (weights[n - 1] as number))
      throw wrongUseError(
        action,
        `weights must not rise towards lower priorities, got ${weights[n - 1]} for ${quotedValue(priorities[n - 1])} and ${weights[n]} for ${quotedValue(priority)}`,
        RangeError,
      )
  }
  return weights
}

const appendEach: StreamSet['appendEach'] = async (streams, append) => {
  const answers: (string | number | Error)[] = []
  const duplicates = new Set<number>()
  let raised: (boolean | Error)[] = []
  let failure: Error | undefined
  for (const stream of new Set(streams)) {
    const places = streams.flatMap((of, n) => (of === stream ? [n] : []))
    if (failure) {
      // what was not sent yet is not sent
      for (const place of places) answers[place] = failure
      continue
    }
    const appended = await append(stream, places).catch((error: Error) => error)
    if (appended instanceof Error) {
      // nothing is known to be written
      if (answers.length === 0) throw appended
      failure = appended
    }
    const part = appended instanceof Error ? { answers: places.map(() => appended), raised: [] } : appended
    for (const [n, place] of places.entries()) answers[place] = part.answers[n] as string | number | Error
    for (const n of ('duplicates' in part && part.duplicates) || []) duplicates.add(places[n] as number)
    failure ??= part.answers.findLast((answer) => answer instanceof Error) as Error | undefined
    raised = merged(raised, part.raised)
  }
  return { answers, raised, ...(duplicates.size > 0 && { duplicates }) }
}

/** A flag counts as raised where any stream's was: one wake is enough. */
function merged(before: readonly (boolean | Error)[], now: readonly (boolean | Error)[]): (boolean | Error)[] {
  const length = Math.max(before.length, now.length)
  return Array.from({ length }, (_, n) => (before[n] === true ? true : (now[n] ?? before[n] ?? false)))
}

function listed(priorities: readonly string[]): string {
  return priorities.map(quotedValue).join(', ')
}
