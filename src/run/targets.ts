import type { Clock } from '../clock.ts'
import { assertClock } from '../clock.ts'
import { assertKnownOptions, assertNumber, assertObject, wrongUseError } from '../core/options.ts'
import type { Consumer, ConsumerSet } from '../define/consumer.ts'
import { listConsumers } from '../define/consumer-set.ts'
import type { RunOverrides } from '../define/consumer-settings.ts'
import { overrideSettings } from '../define/consumer-settings.ts'
import type { LambdaContext } from '../define/handler.ts'
import type { Observer } from '../define/observe.ts'
import { resolveObservers } from '../define/observers.ts'
import { POLICY_MACHINERY } from '../define/policy.ts'
import { quotedValue } from '../errors.ts'
import type { Connection } from '../group/connection.ts'
import { assertConnection } from '../group/connection.ts'
import { limitSettings } from './limits.ts'

/** Where a run finds its server, and its time. */
export interface RunSurroundings {
  /** The server; made once at module scope, shared by every invocation. */
  readonly redis: Connection
  /** Observers of what happens, such as `reportMetrics()` of `millrace/powertools`. Default: nobody. */
  readonly observe?: Observer | readonly Observer[]
  /** Time, for tests. Default: the system's. */
  readonly clock?: Clock
}

/** One run outside Lambda, or below it. */
export interface RunOptions extends RunSurroundings {
  /** Milliseconds this run has; handlers start only as long as they can be settled within it. Default: the context's, else 60,000. */
  readonly remainingMs?: number
  /** Once aborted nothing new is read or started; what runs is finished and settled. */
  readonly signal?: AbortSignal
  /** Lambda's context, which handlers receive as part of theirs. */
  readonly context?: Partial<LambdaContext>
}

/** The options of a handler that is made, and those of a single run. */
export const HANDLER_OPTION_NAMES = ['redis', 'observe', 'clock']
export const RUN_OPTION_NAMES = [...HANDLER_OPTION_NAMES, 'remainingMs', 'signal', 'context']

/**
 * The consumers of a poller or claimer as a list, with what the run overrides.
 *
 * @throws {TypeError | RangeError} A bad option, no consumer, something else, the same group twice, or a policy that the connection cannot serve.
 */
export function resolveRunConsumers(
  action: string,
  given: Consumer | readonly (Consumer | ConsumerSet)[],
  options: RunOptions & RunOverrides,
  known: readonly string[],
): readonly Consumer[] {
  assertKnownOptions(action, options, known)
  assertConnection(action, options.redis)
  resolveObservers(action, options.observe)
  if (options.clock !== undefined) assertClock(action, options.clock)
  if (options.remainingMs !== undefined) assertNumber(action, 'remainingMs', options.remainingMs, 0)
  if (options.context !== undefined) assertObject(action, 'context', options.context)
  if (options.signal !== undefined && !(options.signal instanceof AbortSignal)) {
    throw wrongUseError(action, `signal must be an AbortSignal, got ${typeof options.signal}`)
  }
  const consumers = asConsumers(action, given)
  for (const consumer of consumers) options.redis.assertServes?.(action, consumer)
  return consumers.map((consumer) => ({
    ...consumer,
    settings: limitSettings(action, consumer, overrideSettings(action, consumer.settings, options), options.redis),
  }))
}

function asConsumers(action: string, given: Consumer | readonly (Consumer | ConsumerSet)[]): readonly Consumer[] {
  const consumers = listConsumers(given)
  if (consumers.length === 0) throw wrongUseError(action, 'there must be at least one consumer')
  const seen = new Set<string>()
  for (const consumer of consumers) {
    if (!consumer?.settings || !consumer.keys) {
      throw wrongUseError(action, 'a consumer must come from defineConsumer')
    }
    const name = `group ${quotedValue(consumer.group)} on stream ${quotedValue(consumer.stream)}`
    if (seen.has(name)) throw wrongUseError(action, `${name} must appear once, got it twice`)
    seen.add(name)
    // a consumer of another version of the package: its policies would be left out
    if (consumer.policies.some(({ policy }) => !policy[POLICY_MACHINERY]))
      throw wrongUseError(action, `policies of ${name} must come from definePolicy of this version of millrace`)
  }
  return consumers
}
