import type { BatchHandler, BatchOptions, Consumer, ConsumerOptions, EventHandler, Policy } from 'millrace'
import {
  circuitBreaker,
  concurrencyLimit,
  defineConsumer,
  defineEvent,
  idempotent,
  on,
  onBatch,
  orderedBy,
  rateLimit,
} from 'millrace'
import * as z from 'zod/mini'
import type { Chance } from './chance.ts'

export const STREAM = 'orders'
export const GROUP = 'billing'
const HANDLER_TIMEOUT_MS = 500
export const MIN_IDLE_MS = HANDLER_TIMEOUT_MS + 5_000

const payload = z.object({ kind: z.string() })
const Stepped = defineEvent('Stepped', { payload })
const Turned = defineEvent('Turned', { payload })
const NewerTurned = defineEvent('Turned', { payload, version: 2, upcast: { 1: (old) => old } })

/** What becomes of an entry's calls. */
export type Kind =
  | 'good'
  | 'slow'
  | 'hangs'
  | 'flaky'
  | 'patient'
  | 'poison'
  | 'fatal'
  | 'killer'
  | 'effects'
  | 'refused'
  | 'ignored'
  | 'garbled'

/** What one world is like. */
export interface Setting {
  readonly keys: readonly string[]
  readonly kinds: readonly Kind[]
  readonly types: readonly ('Stepped' | 'Turned')[]
  readonly publishes: { readonly bursts: number; readonly most: number }
  readonly hasUnkeyed: boolean
  readonly faultRate: number
  readonly faults: { readonly lost: boolean; readonly late: boolean; readonly crash: boolean; readonly freeze: boolean }
  readonly moves: Readonly<Record<Move, boolean>>
  readonly options: Partial<ConsumerOptions>
  readonly use: () => readonly Policy[]
  readonly maxDeliveries: number
  /** Calls of one type have several events. */
  readonly batches: BatchOptions | undefined
  readonly afterBatchItemFailure: 'key' | 'checkpoint'
  /** Some events are published again. */
  readonly isOnce: boolean
  readonly afterDeadLetter: 'continue' | 'wait'
  readonly maxAgeMs: number | undefined
  /** What fails while it is open costs no delivery. */
  readonly hasBreaker: boolean
}

export type Move =
  | 'redrive'
  | 'group'
  | 'trim'
  | 'delete'
  | 'pause'
  | 'versions'
  | 'order'
  | 'key'
  | 'full'
  | 'abort'
  | 'drop'

/** What a seed makes of it. Most worlds have a few kinds of trouble: with all of it at once the plain holes hide behind others. */
export function settingOf(chance: Chance): Setting {
  const keys = ['a', 'b', 'c', 'd'].slice(0, chance.int(1, 4))
  const kinds: Kind[] = [
    ...chance.of<Kind[]>([
      ['good'],
      ['good', 'good', 'flaky'],
      ['good', 'good', 'flaky', 'poison', 'fatal'],
      ['good', 'good', 'flaky', 'killer'],
      ['good', 'slow', 'flaky'],
      ['good', 'good', 'hangs', 'patient', 'flaky'],
      ['good', 'effects', 'refused', 'flaky'],
      ['effects', 'effects', 'poison'],
      ['good', 'ignored', 'garbled', 'flaky'],
      ['good', 'flaky', 'patient', 'poison', 'fatal', 'effects', 'refused', 'ignored'],
    ]),
  ]
  const isPaged = chance.is(0.02)
  const maxDeliveries = chance.int(1, 4)
  const maxAgeMs = chance.is(0.1) ? chance.of([500, 5_000, 20_000]) : undefined
  const firstMs = chance.of([0, 5, 200, 4_000])
  const policies: (() => Policy)[] = []
  if (chance.is(0.1)) policies.push(() => rateLimit({ max: 3, perMs: 1_000 }))
  if (chance.is(0.1)) policies.push(() => concurrencyLimit({ max: 1 }))
  const hasLimits = policies.length > 0
  const hasBreaker = chance.is(0.1)
  const isOnce = chance.is(0.1)
  if (isOnce) policies.push(() => idempotent({ ttlMs: 86_400_000 }))
  if (hasBreaker) policies.push(() => circuitBreaker({ failures: 2, perMs: 20_000, probeAfterMs: 2_000 }))
  const bounds = chance.is(0.07) ? { maxParked: chance.int(2, 20), maxPending: chance.of([2, 10]) } : {}
  return {
    keys,
    kinds,
    types: chance.is(0.4) ? ['Stepped', 'Turned'] : ['Stepped'],
    publishes: isPaged ? { bursts: 2, most: 230 } : { bursts: chance.int(1, 6), most: chance.of([3, 8, 14]) },
    hasUnkeyed: chance.is(0.1),
    faultRate: chance.of([0, 0, 0.03, 0.06, 0.12]),
    faults: { lost: chance.is(0.6), late: chance.is(0.5), crash: chance.is(0.4), freeze: chance.is(0.4) },
    moves: {
      redrive: chance.is(0.35),
      group: chance.is(0.2),
      trim: chance.is(0.1),
      delete: chance.is(0.1),
      pause: chance.is(0.12),
      versions: chance.is(0.12),
      order: chance.is(0.06),
      key: chance.is(0.06),
      full: chance.is(0.1),
      abort: chance.is(0.15),
      drop: chance.is(0.2),
    },
    options: {
      concurrency: chance.int(1, 4),
      batchSize: chance.of([1, 2, 5, 100]),
      handlerTimeoutMs: HANDLER_TIMEOUT_MS,
      minIdleMs: MIN_IDLE_MS,
      reserveMs: 300,
      maxDeliveries,
      newerVersion: 'park',
      unrouted: 'park',
      mode: chance.is(0.15) ? 'once' : 'drain',
      // no longer than the first wait, so that there is no jitter: a seed always plays the same
      backoff: { firstMs, factor: 1, maxMs: firstMs },
      ...(maxAgeMs !== undefined && { maxAgeMs }),
      ...bounds,
    },
    use: () => policies.map((make) => make()),
    maxDeliveries,
    maxAgeMs,
    hasBreaker,
    isOnce,
    afterDeadLetter: chance.is(0.25) ? 'wait' : 'continue',
    afterBatchItemFailure: chance.of(['key', 'checkpoint']),
    // limits are of single calls
    batches:
      !hasLimits && chance.is(0.25)
        ? {
            maxEvents: chance.of([2, 5, 100]),
            maxBatchingWindowMs: chance.of([0, 0, 50]),
            bisectOnError: maxDeliveries > 1 && chance.is(0.5),
          }
        : undefined,
  }
}

/** How a consumer is deployed. */
export interface Deployment {
  readonly isOrdered: boolean
  /** Its key function gives fewer keys. */
  readonly isCoarse: boolean
  /** It knows version 1 of a type; or only the other type. */
  readonly knows: 'all' | 'older' | 'fewer'
}

export const DEPLOYED: Deployment = { isOrdered: true, isCoarse: false, knows: 'all' }

/** The key by which an entry is ordered. */
export function keyIn({ isCoarse }: Deployment, key: string | undefined): string | undefined {
  return isCoarse && key?.length === 1 ? (key < 'c' ? 'ab' : 'cd') : key
}

export function makeConsumer(
  { options, use, batches, afterBatchItemFailure, afterDeadLetter }: Setting,
  deployment: Deployment,
  handle: EventHandler<never>,
  handleBatch: BatchHandler,
): Consumer {
  const when = (event: { readonly payload: { readonly kind: string } }) => event.payload.kind !== 'ignored'
  const handler = handle as EventHandler
  const routes = [on(Stepped, handler, { when } as object)]
  if (deployment.knows !== 'fewer')
    routes.push(
      batches
        ? onBatch(
            deployment.knows === 'older' ? Turned : NewerTurned,
            handleBatch as never,
            { ...batches, when } as object,
          )
        : on(deployment.knows === 'older' ? Turned : NewerTurned, handler, { when } as object),
    )
  const inOrder = orderedBy(({ aggregateId }) => keyIn(deployment, aggregateId), {
    afterBatchItemFailure,
    afterDeadLetter,
  })
  return defineConsumer({
    stream: STREAM,
    group: GROUP,
    routes,
    ...options,
    use: [...(deployment.isOrdered ? [inOrder] : []), ...use()],
  })
}
