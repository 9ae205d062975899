import { splitIntoChunks } from '../../core/chunks.ts'
import { assertInteger, assertKnownOptions, assertText, wrongUseError } from '../../core/options.ts'
import type { Consumer, ConsumerSet } from '../../define/consumer.ts'
import type { Connection } from '../../group/connection.ts'
import { createOperatorSender } from '../../group/redis/redis-connection.ts'
import type { CallSender } from '../../group/redis/sender.ts'
import { askQuestions } from '../ask.ts'
import { flowOf } from '../flow/consumer-limits.ts'
import { timeQuestion } from '../questions.ts'
import { discoverStreams } from './discover.ts'
import type { Inspection, StreamInspection } from './inspection.ts'
import { orderedConsumerOf } from './ordered-consumer.ts'
import type { ExpectedGroup, StreamInspectionRequest } from './request.ts'
import type { NamedSet } from './set-totals.ts'
import { inspectSets, setsOf } from './set-totals.ts'
import { inspectStream } from './stream.ts'

/** What to inspect. */
export interface InspectOptions {
  readonly redis: Connection
  /** Keys of streams. Default: those of `consumers`; without those, the streams that the server has. */
  readonly streams?: readonly string[]
  /** Whose groups are expected there, with dead-letter streams and slots that are not the default's. */
  readonly consumers?: readonly (Consumer | ConsumerSet)[]
  /** Sets that are shown as one beside their streams, as from `prioritized`. Default: those of `consumers`. */
  readonly sets?: readonly NamedSet[]
  /** Only one group, on every stream. Default: all groups. */
  readonly group?: string
  /** Where streams are searched for: it stops after so many, 1 to 1,000, and after about 100,000 keys. Default 100. */
  readonly maxStreams?: number
}

const ACTION = 'inspect streams'
const DEFAULT_MAX_STREAMS = 100
/** Streams that are inspected side by side. */
const STREAMS_AT_ONCE = 10

/**
 * Inspects streams, their groups, and what belongs to them. Only reads: it makes no key, group or consumer, and changes no idle time and no
 * delivery count. Four round trips per stream, and one or two more for each condition that something waits for, some twenty where keys wait in order, of commands whose cost does not grow with what is pending.
 *
 * What the server refuses is left out, with the reason in `unknown`; a read-only user needs `xinfo`, `xpending`, `xrange`, and for all of it
 * `hget`, `hgetall`, `pttl`, `time`, `memory|usage`, `zcount`, `zcard`, `zrangebyscore`, `zrangebylex` and `zlexcount`, and `hmget`, `hlen`, `hscan` and `zscore` where order is kept, on a stream and on its groups' keys. What is not on one server at one moment (each command
 * sees its own) may be off by what happened in between.
 *
 * @returns Streams in the order they were named, else in that of their names. A dead-letter stream is shown with its group, not by itself,
 * unless it is named or has groups of its own.
 * @throws {TypeError | RangeError} A bad option.
 * @throws {RedisConnectionError} No reply came.
 * @throws {RedisReplyError} The server refuses to work at all, or refuses SCAN when streams have to be searched for.
 */
export async function inspectStreams(options: InspectOptions): Promise<Inspection> {
  const { sender, streams: named, sets, expected, setOf, group, maxStreams } = resolve(options)
  const { at, clock } = await readClock(sender)
  const { streams, incomplete } =
    named.length > 0 ? { streams: named, incomplete: undefined } : await discoverStreams(sender, maxStreams)
  const inspected: StreamInspection[] = []
  for (const chunk of splitIntoChunks(streams, STREAMS_AT_ONCE)) {
    const look = (stream: string) =>
      inspectStream(sender, { stream, at, group, expected: expected(stream), set: setOf(stream) })
    inspected.push(...(await Promise.all(chunk.map(look))))
  }
  const shown = named.length > 0 ? inspected : found(inspected, group)
  return { at, clock, streams: shown, ...(sets.length > 0 && { sets: inspectSets(sets, inspected) }), incomplete }
}

/** The server's clock, which entry ids are made by; ours where it refuses to report it. */
async function readClock(sender: CallSender): Promise<Pick<Inspection, 'at' | 'clock'>> {
  const { now } = await askQuestions(sender, { now: timeQuestion })
  if ('value' in now) return { at: now.value, clock: 'server' }
  if (now.refusal.is('NOPERM') || /unknown command/i.test(now.refusal.message))
    return { at: Date.now(), clock: 'local' }
  throw now.refusal
}

/** Of streams that were searched for: without those that are gone by now, have no such group, or are shown with the group they belong to. */
function found(streams: readonly StreamInspection[], group: string | undefined): StreamInspection[] {
  const letters = new Set(streams.flatMap(({ groups }) => groups.map(({ deadLetters }) => deadLetters?.stream)))
  return streams.filter(
    ({ stream, state, groups }) =>
      state !== 'missing' && (groups.length > 0 || (group === undefined && !letters.has(stream))),
  )
}

interface Resolved extends Required<Pick<InspectOptions, 'streams' | 'sets' | 'maxStreams'>> {
  readonly sender: CallSender
  readonly group: StreamInspectionRequest['group']
  readonly expected: (stream: string) => ExpectedGroup[]
  readonly setOf: (stream: string) => StreamInspectionRequest['set']
}

function resolve(options: InspectOptions): Resolved {
  assertKnownOptions(ACTION, options, ['redis', 'streams', 'consumers', 'sets', 'group', 'maxStreams'])
  checkOptions(options)
  const { redis, streams = [], group, maxStreams = DEFAULT_MAX_STREAMS } = options
  const consumers = (options.consumers ?? []).flat()
  const sets = options.sets ?? setsOf(consumers)
  const own = [...consumers.map(({ stream }) => stream), ...sets.flatMap((set) => set.streams)]
  return {
    sender: createOperatorSender(ACTION, redis),
    streams: [...new Set(streams.length > 0 ? streams : own)],
    // what is asked about a part of it says nothing of the whole
    sets: streams.length > 0 ? sets.filter((set) => set.streams.every((stream) => streams.includes(stream))) : sets,
    group,
    maxStreams,
    expected: (stream) => consumers.filter((consumer) => consumer.stream === stream).map(expectedOf),
    setOf: (stream) => sets.find((set) => set.streams.includes(stream))?.name,
  }
}

function checkOptions({
  streams = [],
  consumers = [],
  sets = [],
  group,
  maxStreams = DEFAULT_MAX_STREAMS,
}: InspectOptions): void {
  for (const [name, list] of Object.entries({ streams, consumers, sets }))
    if (!Array.isArray(list)) throw wrongUseError(ACTION, `${name} must be an array, got ${typeof list}`)
  for (const stream of streams) assertText(ACTION, 'each of streams', stream)
  for (const { name, streams: keys } of sets) {
    assertText(ACTION, 'the name of each of sets', name)
    for (const key of keys) assertText(ACTION, 'each stream of sets', key)
  }
  for (const consumer of consumers.flat())
    if (!consumer?.keys || !consumer.settings)
      throw wrongUseError(ACTION, 'each of consumers must come from defineConsumer')
  if (group !== undefined) assertText(ACTION, 'group', group)
  assertInteger(ACTION, 'maxStreams', maxStreams, 1, 1_000)
}

function expectedOf(consumer: Consumer): ExpectedGroup {
  const { group, keys, settings } = consumer
  return {
    group,
    deadLetters: keys.deadLetters,
    slots: settings.maxPollers,
    limits: flowOf(consumer).limits,
    ordered: orderedConsumerOf(consumer),
  }
}
