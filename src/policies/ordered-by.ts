import { isSynchronousFunction } from '../core/handler-function.ts'
import type { ConsumerKeys } from '../core/keys.ts'
import { assertKnownOptions, assertOneOf, wrongUseError } from '../core/options.ts'
import { CONSUMER_NUMBER_OPTIONS } from '../core/rows.ts'
import type { Consumer } from '../define/consumer.ts'
import type { ConsumerSettings } from '../define/consumer-settings.ts'
import type { Policy, PolicyKeyRights, PolicyPlace, PolicyRun, RunPolicy } from '../define/policy.ts'
import { RUN_INSIDE } from '../define/policy.ts'
import type { Group } from '../group/group.ts'
import type { OrderableGroup, OrderedGroup } from '../group/ordering.ts'
import { laneKeys, ORDER_POLICY } from '../group/ordering.ts'
import { OrderedRedisGroup } from '../group/redis/order/ordered-redis-group.ts'
import type { RedisGroup } from '../group/redis/redis-group.ts'
import type { PolicyRunInside } from '../run/policy-engine.ts'
import { definePolicyWith } from './define-policy.ts'
import type { OrderingKey } from './order/lane-names.ts'
import { laneOfEntry } from './order/lane-names.ts'
import { RunOrder } from './order/run-order.ts'

/** How order is kept. */
export interface OrderedByOptions {
  /** What a key does after a dead letter: it goes on. Default, and the only way so far: `'continue'`. */
  readonly afterDeadLetter?: 'continue'
}

/**
 * Handles the events of a key one after the other, in the order of the stream, whatever fails: an event starts only when the one before it of its key is acknowledged, ignored, a dead letter or lost. Keys run side by side.
 *
 * The stream has one poller at a time. After a dead letter its key goes on; a letter that is redriven goes before all that is undone of its key by then.
 *
 * @param keyOf The key of an event, of what stands in its entry beside the payload: a text of 1 byte to 1 KB, or `undefined` for one without order. What else it answers or throws makes the entry a dead
 * letter, `malformed`. The same in every deployment.
 * @throws {TypeError} No function that answers at once; where the consumer is defined, what it cannot be combined with.
 */
export function orderedBy(keyOf: OrderingKey, options: OrderedByOptions = {}): Policy {
  assertKnownOptions('make orderedBy', options, ['afterDeadLetter'])
  const { afterDeadLetter = 'continue' } = options
  assertOneOf('make orderedBy', 'afterDeadLetter', afterDeadLetter, ['continue'])
  if (!isSynchronousFunction(keyOf))
    throw wrongUseError('make orderedBy', 'it must be given a function of the event that answers at once')
  return definePolicyWith(
    {
      name: ORDER_POLICY,
      kind: 'order',
      excludes: ['idempotent'],
      maxPollers: 1,
      assertFits,
      needs,
      begin: (run) => begin(run, keyOf),
    },
    {
      groupOf: (group, consumer) => orderedGroup(group, consumer, keyOf),
      laneOf: (consumer, entry) => laneOfEntry(consumer, keyOf, entry),
    },
  )
}

function needs(keys: ConsumerKeys): PolicyKeyRights {
  const { lanes, laneOf } = laneKeys(keys)
  const onLanes = ['hget', 'hset', 'hdel', 'hlen', 'hscan', 'hexists']
  return {
    keys: [
      { key: lanes, commands: onLanes },
      { key: laneOf, commands: onLanes },
      // a poller makes members, takes what is due, and gets back what a lost group had set aside
      { key: keys.waiting, commands: ['zrangebylex', 'zremrangebylex', 'zcard', 'zlexcount'] },
      { key: keys.due, commands: ['zrangebyscore', 'zscore', 'zscan'] },
      { key: keys.state, commands: ['hexists', 'hmget'] },
    ],
  }
}

function begin(run: PolicyRun, keyOf: OrderingKey): RunPolicy {
  const inside = run[RUN_INSIDE] as PolicyRunInside
  const order = new RunOrder(inside, inside.parts.group as Group & OrderedGroup, keyOf)
  inside.order = order
  return {
    questions: (jobs) => order.questions(jobs),
    admit: (jobs, replies) => order.admit(jobs, replies),
    holds: (job) => order.holds(job),
    ended: (job) => order.ended(job),
  }
}

function orderedGroup(group: Group, consumer: Consumer, keyOf: OrderingKey): Group {
  const ordering = { laneOf: (entry: Parameters<typeof laneOfEntry>[2]) => laneOfEntry(consumer, keyOf, entry) }
  return (group as OrderableGroup).inOrder?.(ordering) ?? new OrderedRedisGroup(group as RedisGroup, ordering)
}

/** @throws {TypeError} What order cannot be combined with. */
function assertFits(
  { mode, lingerMs, maxPollers, allowLongHandlers }: ConsumerSettings,
  { eventType, batchTypes }: PolicyPlace,
): void {
  // without the option there would be several
  if (maxPollers !== 1 && maxPollers !== CONSUMER_NUMBER_OPTIONS.maxPollers.default)
    throw new TypeError(`maxPollers must be 1: a stream in order has one poller at a time, got ${maxPollers}`)
  if (eventType !== undefined) throw new TypeError('it must be used on the consumer: a key has events of all types')
  if (batchTypes.length > 0)
    throw new TypeError(`a batch route keeps no order within its call, got onBatch of ${batchTypes.join(', ')}`)
  if (mode === 'listen' || lingerMs > 0)
    throw new TypeError("mode must be 'drain' or 'once', without lingerMs: what listens reads outside of the order")
  if (allowLongHandlers)
    throw new TypeError(
      'allowLongHandlers must be false: a handler that outlasts its claim runs beside the next of its key',
    )
}
