import { type ConsumerKeys, PARKED_CONSUMER } from '../../core/keys.ts'
import type { Consumer } from '../../define/consumer.ts'
import type { StreamInfo } from '../../group/redis/commands/xinfo-stream.ts'
import type { AnswerOrRefusal, AnswersByName } from '../ask.ts'
import { readRegistry } from '../inspect/keeping.ts'
import { markerMsOf } from '../sizing.ts'
import type { GroupFacts, StreamFacts } from './facts.ts'
import type { OrderFacts } from './order-facts.ts'

/** A stream as it is now, with what lies beside it. */
export interface StreamSize {
  readonly stream: string
  readonly info: StreamInfo
  /** What MEMORY USAGE says of it, groups included. */
  readonly usageBytes: number
  /** Of all groups, set aside or not. */
  readonly pending: number
  readonly setAside: number
  /** How much of that is in order. */
  readonly inOrder: number
  readonly delayed: number
  readonly deadLetters: readonly DeadLetterSize[]
  /** For how long the policies of each consumer that is known remember an event. */
  readonly markerMs: readonly number[]
  /** The longest that a registered group needs, where a janitor runs. */
  readonly retentionMs: number | undefined
}

export interface DeadLetterSize {
  readonly info: StreamInfo
  /** `undefined`: the consumer is not known. */
  readonly maxLength: number | undefined
}

/** What all streams that are inspected come to. */
export interface SizeFacts {
  readonly sizes: readonly StreamSize[]
}

/** What was asked of a stream and its groups. */
export interface AskedStream {
  readonly name: string
  readonly inquiry: { readonly answers: Partial<AnswersByName<StreamFacts>> }
  readonly groups: readonly {
    readonly group: string
    readonly keys: Pick<ConsumerKeys, 'deadLetters'>
    readonly consumer: Consumer | undefined
    readonly inquiry: { readonly answers: Partial<AnswersByName<GroupFacts>> }
    readonly order?: AnswersByName<OrderFacts>
  }[]
}

/** The sizes of all; the first refusal where one of them is not known. Streams that are none are left out. */
export function sizesOf(asked: readonly AskedStream[]): AnswerOrRefusal<readonly StreamSize[]> {
  const sizes: StreamSize[] = []
  for (const one of asked) {
    const { stream, memoryUsage, groups } = one.inquiry.answers
    for (const told of [stream, memoryUsage, groups]) if (told && 'refusal' in told) return told
    const info = toldValue(stream)
    const usageBytes = toldValue(memoryUsage)
    if (info === undefined || typeof info === 'string' || usageBytes === undefined) continue
    sizes.push({ ...sizeOf(one), info, usageBytes })
  }
  return { value: sizes }
}

function sizeOf({ name, inquiry, groups }: AskedStream): Omit<StreamSize, 'info' | 'usageBytes'> {
  const { groups: made, delayed, registry, janitorNotes } = inquiry.answers
  const waiting = toldValue(delayed)
  const hasJanitor = toldValue(janitorNotes)?.ranAt !== undefined
  const kept = Object.values(readRegistry(toldValue(registry) ?? {})).map(({ retentionMs = 0 }) => retentionMs)
  // more than one consumer may be given for a group
  const once = onceBy(groups, ({ group }) => group)
  return {
    stream: name,
    pending: sum(toldValue(made)?.map(({ pending }) => pending)),
    setAside: sum(once.map(parkedOf)),
    inOrder: sum(once.map(inOrderOf)),
    delayed: typeof waiting === 'object' ? waiting.is : 0,
    deadLetters: onceBy(groups, ({ keys }) => keys.deadLetters).flatMap(({ consumer, inquiry }) => {
      const info = toldValue(inquiry.answers.deadLetters)
      if (info === undefined || typeof info === 'string') return []
      return [{ info, maxLength: consumer?.settings.maxDeadLetters }]
    }),
    markerMs: groups.map(({ consumer }) => (consumer ? markerMsOf(consumer) : 0)),
    retentionMs: hasJanitor ? Math.max(0, ...kept) : undefined,
  }
}

function parkedOf({ inquiry }: AskedStream['groups'][number]): number {
  const parked = toldValue(inquiry.answers.consumers)?.filter(({ name }) => name === PARKED_CONSUMER)
  return sum(parked?.map(({ pending }) => pending))
}

/** What waits, and what it waits behind. */
function inOrderOf({ order }: AskedStream['groups'][number]): number {
  const { waiting = 0, lanes = 0 } = toldValue(order?.order) ?? {}
  return waiting + lanes
}

/** The first of each key. */
function onceBy<T>(values: readonly T[], keyOf: (value: T) => string): readonly T[] {
  return [...Map.groupBy(values, keyOf).values()].flatMap(([first]) => first ?? [])
}

function sum(values: readonly number[] = []): number {
  return values.reduce((total, value) => total + value, 0)
}

function toldValue<T>(told: AnswerOrRefusal<T> | undefined): T | undefined {
  return told && 'value' in told ? told.value : undefined
}
