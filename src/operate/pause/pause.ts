import {
  assertKnownKeys,
  assertKnownOptions,
  assertNumber,
  assertObject,
  assertText,
  wrongUseError,
} from '../../core/options.ts'
import { isPausable, type Pause } from '../../core/pauses.ts'
import type { Consumer, ConsumerSet } from '../../define/consumer.ts'
import { resolveConsumerKeys } from '../../define/consumer-settings.ts'
import { quotedValue } from '../../errors.ts'
import type { Connection } from '../../group/connection.ts'
import type { PausedBacklog, PausingAddress } from '../../group/pausing.ts'
import { pausingOf } from '../../group/redis/pausing.ts'

export type { Pause } from '../../core/pauses.ts'

/** A consumer, or a group by its name. */
export type PauseSource = Consumer | { readonly stream: string; readonly group: string }

/** What is paused or resumed, and where. */
interface Options {
  /** The server. */
  readonly redis: Connection
  /** Only events of that type. Default: the whole group. */
  readonly type?: string
}

export interface PauseOptions extends Options {
  /** When it ends by itself, by the server's clock. Default: it does not; of what is paused already: as before. */
  readonly until?: Date
  /** Why, for whoever wonders. Default: nothing; of what is paused already: as before. */
  readonly why?: string
  /** By whom. Default: `defaultBy`; of what is paused already: as before. */
  readonly by?: string
  /** By whom, where it is not paused yet and nobody is named. Default: nobody. */
  readonly defaultBy?: string
}

export interface ResumeOptions extends Options {
  /** Milliseconds: entries that are older will expire, and are counted. Default: the consumer's own `maxAgeMs`, where a consumer is given. */
  readonly maxAgeMs?: number
}

/** Whether a replica has it: left out where the server has none; false also where the server does not say. */
interface Confirmed {
  readonly isConfirmed?: boolean
}

/** What is paused now. */
export interface Paused extends Confirmed {
  readonly pause: Pause
  /** How it was paused before; left out if it was not. */
  readonly before?: Pause
}

/** What was paused, and what has waited for its end. */
export interface Resumed extends Confirmed, PausedBacklog {
  readonly was: Pause
}

/**
 * Pauses a group, or an event type of it: nothing of it starts any more, at the latest a third of `minIdleMs` after this resolved. Handlers that run finish. What waits costs
 * no delivery. What is paused already stays so; only what is given changes.
 *
 * Entries grow older meanwhile: what exceeds its `maxAgeMs` expires.
 *
 * @throws {TypeError | RangeError} A bad option, no such group, or `until` is over by the server's clock.
 * @throws {RedisReplyError | RedisConnectionError} The server refused, or could not be reached.
 */
export async function pause(source: PauseSource, options: PauseOptions): Promise<Paused>
/** Pauses the group on all streams of a set, one after the other. @throws As above; what was paused before stays so. */
export async function pause(source: ConsumerSet, options: PauseOptions): Promise<readonly Paused[]>
export async function pause(
  source: PauseSource | ConsumerSet,
  options: PauseOptions,
): Promise<Paused | readonly Paused[]> {
  return Array.isArray(source)
    ? inTurn(source as ConsumerSet, (member) => pauseOne(member, options))
    : pauseOne(source as PauseSource, options)
}

async function inTurn<T>(members: ConsumerSet, one: (member: Consumer) => Promise<T>): Promise<readonly T[]> {
  const all: T[] = []
  for (const member of members) all.push(await one(member))
  return all
}

async function pauseOne(source: PauseSource, options: PauseOptions): Promise<Paused> {
  const { action, address } = resolveSource('pause', source, options, ['until', 'why', 'by', 'defaultBy'])
  const { redis, type, until, why, by, defaultBy } = options
  checkPauseOptions(action, options)
  const answer = await pausingOf(action, redis).pause(address, { type, until: until?.getTime(), why, by, defaultBy })
  if (answer.is === 'unknown') throw noGroup(action)
  if (answer.is === 'past')
    throw wrongUseError(
      action,
      `until must be in the future; the server's clock says ${new Date(answer.now).toISOString()}`,
      RangeError,
    )
  const { is: _is, ...paused } = answer
  return paused
}

function checkPauseOptions(action: string, { until, why, by, defaultBy }: PauseOptions): void {
  for (const [name, value] of Object.entries({ why, by, defaultBy }))
    if (value !== undefined) assertText(action, name, value)
  if (until !== undefined && !(until instanceof Date && Number.isFinite(until.getTime())))
    throw wrongUseError(action, 'until must be a valid Date')
}

/**
 * Resumes what `pause` paused: the next poller and claimer take up what waits, each entry as if nothing had happened. A type that is paused by itself stays so when its group
 * is resumed.
 *
 * @returns `undefined`: it was not paused.
 * @throws {TypeError | RangeError} A bad option, or no such group.
 * @throws {RedisReplyError | RedisConnectionError} The server refused, or could not be reached.
 */
export async function resume(source: PauseSource, options: ResumeOptions): Promise<Resumed | undefined>
/** Resumes the group on all streams of a set, one after the other. @throws As above; what was resumed before stays so. */
export async function resume(source: ConsumerSet, options: ResumeOptions): Promise<readonly (Resumed | undefined)[]>
export async function resume(
  source: PauseSource | ConsumerSet,
  options: ResumeOptions,
): Promise<Resumed | undefined | readonly (Resumed | undefined)[]> {
  return Array.isArray(source)
    ? inTurn(source as ConsumerSet, (member) => resumeOne(member, options))
    : resumeOne(source as PauseSource, options)
}

async function resumeOne(source: PauseSource, options: ResumeOptions): Promise<Resumed | undefined> {
  const { action, address } = resolveSource('resume', source, options, ['maxAgeMs'])
  const { redis, type, maxAgeMs = maxAgeOf(source, type) } = options
  if (maxAgeMs !== undefined) assertNumber(action, 'maxAgeMs', maxAgeMs, 1, Number.MAX_SAFE_INTEGER)
  const answer = await pausingOf(action, redis).resume(address, { type, maxAgeMs })
  if (answer.is === 'unknown') throw noGroup(action)
  if (answer.is === 'not-paused') return undefined
  const { is: _is, ...resumed } = answer
  return resumed
}

function resolveSource(
  verb: string,
  source: PauseSource,
  options: Options,
  known: readonly string[],
): { readonly action: string; readonly address: PausingAddress } {
  assertObject(verb, 'the source', source)
  const { stream, group } = source
  assertText(verb, 'stream', stream)
  assertText(verb, 'group', group)
  const action = `${verb} group ${quotedValue(group)} of stream ${quotedValue(stream)}`
  if (!('keys' in source)) assertKnownKeys(action, source, ['stream', 'group'])
  assertKnownOptions(action, options, ['redis', 'type', ...known])
  const { type } = options
  if (type !== undefined) assertText(action, 'type', type)
  if (type !== undefined && !isPausable(type))
    throw wrongUseError(
      action,
      'type must be an event type of at most 180 characters; left out, the whole group is meant',
    )
  return {
    action,
    address: { group, keys: 'keys' in source ? source.keys : resolveConsumerKeys(action, stream, group) },
  }
}

/** How old entries may get, if a consumer is given and says so. */
function maxAgeOf(source: PauseSource, type: string | undefined): number | undefined {
  if (!('routes' in source)) return undefined
  const ageMs = (type === undefined ? undefined : source.routes.get(type)?.maxAgeMs) ?? source.settings.maxAgeMs
  return ageMs === Infinity ? undefined : ageMs
}

function noGroup(action: string): Error {
  return wrongUseError(action, 'there must be such a group; its poller makes it when it first runs', RangeError)
}
