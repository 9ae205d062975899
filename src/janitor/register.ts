import { assertKnownOptions, assertObject, assertText, wrongUseError } from '../core/options.ts'
import type { GroupRegistration } from '../core/registration.ts'
import { encodeRegistration, parseRegistration } from '../core/registration.ts'
import type { StreamSet } from '../define/stream-set.ts'
import { isStreamSet } from '../define/stream-set.ts'
import { quotedValue } from '../errors.ts'
import type { Connection } from '../group/connection.ts'
import { keepingOf } from '../group/redis/keeping.ts'
import { assertEntryId, assertKeys, checkGroups } from './janitor-options.ts'
import { writeRegistry } from './registry.ts'

/** Where a registry is. */
export interface RegistryOptions {
  readonly redis: Connection
}

/**
 * Registers groups of a stream, or of each stream of a set: who owns each, what it promises, and what it needs. What is registered already under a name is replaced.
 *
 * @throws {TypeError | RangeError} A bad registration.
 * @throws {RedisReplyError | RedisConnectionError} The server refused, or could not be reached.
 */
export async function registerGroups(
  stream: string | StreamSet,
  groups: Readonly<Record<string, GroupRegistration>>,
  options: RegistryOptions,
): Promise<void> {
  const actions = openEach('register groups', stream, options)
  for (const [key, action] of actions) checkGroups(action, key, groups)
  const texts = Object.entries(groups).map(([group, given]) => [group, encodeRegistration(given)] as const)
  for (const [key, action] of actions) await write(action, key, options, new Map(texts))
}

/**
 * Takes groups off the registry: a janitor waits for one of them only as long as there is such a group.
 *
 * @throws {RedisReplyError | RedisConnectionError} The server refused, or could not be reached.
 */
export async function unregisterGroups(
  stream: string | StreamSet,
  groups: readonly string[],
  options: RegistryOptions,
): Promise<void> {
  for (const [key, action] of openEach('unregister groups', stream, options)) {
    if (!Array.isArray(groups)) throw wrongUseError(action, `groups must be an array, got ${typeof groups}`)
    for (const group of groups) assertText(action, 'each of groups', group)
    await write(action, key, options, new Map(groups.map((group) => [group, undefined])))
  }
}

async function write(
  action: string,
  stream: string,
  { redis }: RegistryOptions,
  texts: ReadonlyMap<string, string | undefined>,
): Promise<void> {
  const keeping = keepingOf(action, redis)
  await writeRegistry(keeping, stream, await keeping.registered(stream), texts)
}

/**
 * Reads a stream's registry. What cannot be read as a registration is left out.
 *
 * @returns Group name → its registration.
 * @throws {RedisReplyError | RedisConnectionError} The server refused, or could not be reached.
 */
export async function registeredGroups(
  stream: string,
  options: RegistryOptions,
): Promise<ReadonlyMap<string, GroupRegistration>> {
  const action = open('read registered groups', stream, options)
  const texts = await keepingOf(action, options.redis).registered(stream)
  return new Map(
    [...texts].flatMap(([group, text]) => {
      const registration = parseRegistration(text)
      return registration ? [[group, registration] as const] : []
    }),
  )
}

/** A floor of a stream. */
export interface KeepEntriesOptions extends RegistryOptions {
  /** Whose it is, as `snapshots`; each name has one id. */
  readonly name: string
}

/**
 * Keeps a stream's entries from an id on, for somebody who is no group: a snapshotter writes here up to where its snapshots need nothing. No janitor trims that entry or a later one.
 *
 * @param id The first entry that is needed; `undefined`: the name needs nothing any more.
 * @throws {TypeError | RangeError} Not an entry id.
 * @throws {RedisReplyError | RedisConnectionError} The server refused, or could not be reached.
 */
export async function keepEntriesFrom(
  stream: string,
  id: string | undefined,
  options: KeepEntriesOptions,
): Promise<void> {
  const action = open('keep entries', stream, options, ['name'])
  assertText(action, 'name', options.name)
  if (id !== undefined) assertEntryId(action, 'id', id)
  await keepingOf(action, options.redis).keepFrom(stream, { [options.name]: id })
}

/** Each stream, with what is done to it. */
function openEach(
  verb: string,
  given: string | StreamSet,
  options: RegistryOptions,
): readonly (readonly [stream: string, action: string])[] {
  const streams = isStreamSet(given) ? given.streams : [given]
  return streams.map((stream) => [stream, open(verb, stream, options)])
}

function open(verb: string, stream: string, options: RegistryOptions, known: readonly string[] = []): string {
  assertText(verb, 'stream', stream)
  const action = `${verb} of stream ${quotedValue(stream)}`
  assertObject(action, 'options', options)
  assertKnownOptions(action, options, ['redis', ...known])
  assertKeys(action, stream)
  return action
}
