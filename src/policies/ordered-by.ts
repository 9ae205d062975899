import { isSynchronousFunction } from '../core/handler-function.ts'
import type { ConsumerKeys } from '../core/keys.ts'
import { assertKnownOptions, assertOneOf, wrongUseError } from '../core/options.ts'
import type { Consumer } from '../define/consumer.ts'
import type { ConsumerSettings } from '../define/consumer-settings.ts'
import type { Policy, PolicyKeyRights, PolicyPlace, PolicyRun, RunPolicy } from '../define/policy.ts'
import { RUN_INSIDE } from '../define/policy.ts'
import type { Group } from '../group/group.ts'
import type { OrderableGroup, OrderedGroup, Ordering } from '../group/ordering.ts'
import { laneKeys, ORDER_POLICY } from '../group/ordering.ts'
import { OrderedRedisGroup } from '../group/redis/order/ordered-redis-group.ts'
import type { RedisGroup } from '../group/redis/redis-group.ts'
import type { PolicyRunInside } from '../run/policy-engine.ts'
import { definePolicyWith } from './define-policy.ts'
import type { AfterBatchItemFailure } from './order/batch-failures.ts'
import type { OrderingKey } from './order/lane-names.ts'
import { laneOfEntry } from './order/lane-names.ts'
import type { OrderRules } from './order/order-outcomes.ts'
import { RunOrder } from './order/run-order.ts'
import { slotChallengeOf } from './order/slot-challenge.ts'

/** How order is kept. */
export interface OrderedByOptions {
  /**
   * What a key does after a dead letter. Default `'continue'`.
   *
   * - `'continue'`: it goes on.
   * - `'wait'`: what comes after the dead letter's entry waits until the letter is redriven, dropped, or gone.
   */
  readonly afterDeadLetter?: 'continue' | 'wait'
  /**
   * What an event that failed in a call of a batch handler sets aside, whatever the handler made of it: what comes after it of its key, as with SQS FIFO; or of the whole call, as with
   * Kinesis, whose checkpoint it is. Default `'key'`.
   */
  readonly afterBatchItemFailure?: AfterBatchItemFailure
}

/**
 * Handles the events of a key one after the other, in the order of the stream, whatever fails: an event starts only when the one before it of its key is acknowledged, ignored, a dead letter or lost. Keys run side by side.
 *
 * The stream has one poller at a time. After a dead letter its key goes on, or waits; a letter that is redriven goes before all that is undone of its key by then.
 *
 * @param keyOf The key of an event, of what stands in its entry beside the payload: a text of 1 byte to 1 KB, or `undefined` for one without order. What else it answers or throws makes the entry a dead
 * letter, `malformed`. The same in every deployment.
 * @throws {TypeError} No function that answers at once; where the consumer is defined, what it cannot be combined with.
 */
export function orderedBy(keyOf: OrderingKey, options: OrderedByOptions = {}): Policy {
  assertKnownOptions('make orderedBy', options, ['afterDeadLetter', 'afterBatchItemFailure'])
  const { afterDeadLetter = 'continue', afterBatchItemFailure = 'key' } = options
  assertOneOf('make orderedBy', 'afterDeadLetter', afterDeadLetter, ['continue', 'wait'])
  assertOneOf('make orderedBy', 'afterBatchItemFailure', afterBatchItemFailure, ['key', 'checkpoint'])
  const waitsForLetters = afterDeadLetter === 'wait'
  if (!isSynchronousFunction(keyOf))
    throw wrongUseError('make orderedBy', 'it must be given a function of the event that answers at once')
  return definePolicyWith(
    {
      name: ORDER_POLICY,
      kind: 'order',
      maxPollers: 1,
      assertFits,
      needs: (keys) => needs(keys, waitsForLetters),
      begin: (run) => begin(run, keyOf, { afterBatchItemFailure, waitsForLetters }),
    },
    {
      groupOf: (group, consumer) => orderedGroup(group, consumer, keyOf, waitsForLetters),
      laneOf: (consumer, entry) => laneOfEntry(consumer, keyOf, entry),
    },
  )
}

function needs(keys: ConsumerKeys, waitsForLetters: boolean): PolicyKeyRights {
  const { lanes, laneOf, awaited } = laneKeys(keys)
  const onLanes = ['hget', 'hmget', 'hset', 'hdel', 'hlen', 'hscan', 'hexists']
  return {
    keys: [
      { key: lanes, commands: onLanes },
      { key: laneOf, commands: onLanes },
      { key: awaited, commands: ['exists', 'zadd', 'zrem', 'zrangebylex', 'zremrangebylex'] },
      ...(waitsForLetters ? [{ key: keys.deadLetters, commands: ['xrange'] }] : []),
      // a poller makes members, takes what is due, and gets back what a lost group had set aside
      { key: keys.waiting, commands: ['zrangebylex', 'zremrangebylex', 'zcard', 'zlexcount'] },
      { key: keys.due, commands: ['zrangebyscore', 'zscore', 'zscan'] },
      { key: keys.state, commands: ['hexists', 'hmget', 'hscan'] },
    ],
  }
}

function begin(run: PolicyRun, keyOf: OrderingKey, rules: OrderRules): RunPolicy {
  const inside = run[RUN_INSIDE] as PolicyRunInside
  const order = new RunOrder(inside, inside.parts.group as Group & OrderedGroup, keyOf, rules)
  inside.order = order
  return {
    questions: (jobs) => order.questions(jobs),
    admit: (jobs, replies) => order.admit(jobs, replies),
    holds: (job) => order.holds(job),
    started: (job) => order.started(job),
    ended: (job) => order.ended(job),
  }
}

function orderedGroup(group: Group, consumer: Consumer, keyOf: OrderingKey, waitsForLetters: boolean): Group {
  const waitsFor = slotChallengeOf(consumer)
  const ordering: Ordering = {
    laneOf: (entry) => laneOfEntry(consumer, keyOf, entry),
    waitsForLetters,
    ...(waitsFor && { waitsFor }),
  }
  return (group as OrderableGroup).inOrder?.(ordering) ?? new OrderedRedisGroup(group as RedisGroup, ordering)
}

/** @throws {TypeError} What order cannot be combined with. */
function assertFits({ allowLongHandlers }: ConsumerSettings, { eventType }: PolicyPlace): void {
  if (eventType !== undefined) throw new TypeError('it must be used on the consumer: a key has events of all types')
  if (allowLongHandlers)
    throw new TypeError(
      'allowLongHandlers must be false: a handler that outlasts its claim runs beside the next of its key',
    )
}
