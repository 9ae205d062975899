import type { OpenBreaker } from '../../core/gates.ts'
import { BREAKER_FIELDS, breakerPairs, OUTCOME_FIELDS, parseBreakers } from '../../core/gates.ts'
import { assertKnownKeys, assertKnownOptions, assertObject, assertText } from '../../core/options.ts'
import type { ConsumerSet } from '../../define/consumer.ts'
import { resolveConsumerKeys, resolveSettings } from '../../define/consumer-settings.ts'
import { quotedValue } from '../../errors.ts'
import type { Connection } from '../../group/connection.ts'
import type { PauseSource } from './pause.ts'

export type { OpenBreaker } from '../../core/gates.ts'

/** Which circuit breakers, and where. */
export interface BreakerOptions {
  /** The server. */
  readonly redis: Connection
  /** Only that of an event type. Default: all of the group. */
  readonly type?: string
}

/**
 * The circuit breakers of a group that are open, by event type. Those of a set are the same for all of its streams.
 *
 * @throws {TypeError} A bad option.
 * @throws {RedisReplyError | RedisConnectionError} The server refused, or could not be reached.
 */
export async function openBreakers(
  source: PauseSource | ConsumerSet,
  options: BreakerOptions,
): Promise<readonly OpenBreaker[]> {
  const { group, key } = resolveSource('list open circuit breakers of', source, options)
  const [reply] = await group.ask([['hgetall', key]])
  if (reply instanceof Error) throw reply
  return parseBreakers(breakerPairs(reply))
    .filter(({ eventType }) => options.type === undefined || eventType === options.type)
    .sort((a, b) => (a.eventType < b.eventType ? -1 : 1))
}

/**
 * Closes circuit breakers by hand: the next claimer, or poller that listens, takes up what waits. A probe that runs goes on, and says nothing.
 *
 * @returns Those that were open.
 * @throws {TypeError} A bad option.
 * @throws {RedisReplyError | RedisConnectionError} The server refused, or could not be reached.
 */
export async function closeBreakers(
  source: PauseSource | ConsumerSet,
  options: BreakerOptions,
): Promise<readonly OpenBreaker[]> {
  const open = await openBreakers(source, options)
  if (open.length === 0) return open
  const { group, key } = resolveSource('close circuit breakers of', source, options)
  // what failed before says nothing any more
  const names = [...BREAKER_FIELDS, ...OUTCOME_FIELDS]
  const fields = open.flatMap(({ eventType }) => names.map((field) => `${field} ${eventType}`))
  const [reply] = await group.ask([['hdel', key, ...fields]])
  if (reply instanceof Error) throw reply
  return open
}

function resolveSource(verb: string, given: PauseSource | ConsumerSet, options: BreakerOptions) {
  // the streams of a set share their circuit breakers
  const [source] = [given].flat() as [PauseSource]
  assertObject(verb, 'the source', source)
  const { stream, group } = source
  assertText(verb, 'stream', stream)
  assertText(verb, 'group', group)
  const action = `${verb} group ${quotedValue(group)} of stream ${quotedValue(stream)}`
  if (!('keys' in source)) assertKnownKeys(action, source, ['stream', 'group'])
  assertKnownOptions(action, options, ['redis', 'type'])
  if (options.type !== undefined) assertText(action, 'type', options.type)
  const keys = 'keys' in source ? source.keys : resolveConsumerKeys(action, stream, group)
  const settings = 'settings' in source ? source.settings : resolveSettings(action, {})
  return { group: options.redis.group({ stream, group, keys, settings }), key: keys.breakers }
}
