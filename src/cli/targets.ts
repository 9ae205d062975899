import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { ServerAddress } from '../clients/rest-url.ts'
import { parseServerUrl } from '../clients/rest-url.ts'
import type { RedisAddress } from '../clients/url.ts'
import type { Consumer } from '../define/consumer.ts'
import { prioritized } from '../define/prioritized.ts'
import { quotedValue } from '../errors.ts'
import type { Connection } from '../group/connection.ts'
import type { NamedSet } from '../operate/inspect/set-totals.ts'
import { setsOf } from '../operate/inspect/set-totals.ts'
import { printable } from './text/printable.ts'
import { UsageError } from './usage-error.ts'

/** The options of every command that inspects a server, for `parseArgs`. */
export const TARGET_CLI_OPTIONS = {
  redis: { type: 'string' },
  stream: { type: 'string', multiple: true },
  priorities: { type: 'string' },
  group: { type: 'string' },
  help: { type: 'boolean', short: 'h', default: false },
} as const

/** Their part of a command's usage text. */
export const TARGET_USAGE = `  MODULE         a file that exports consumers, as from defineConsumer: their streams, groups and settings
  --stream KEY   a stream, or the name of a set of streams, instead of a module; may be repeated
  --priorities P those of the set that --stream names, as high,normal,low; a module knows its own
  --group NAME   only one group
  --redis URL    the server: redis://, rediss://, redis+sentinel://, https:// or a socket's path (default: the variable REDIS_URL)`

/** What was given for them. */
export interface TargetOptionValues {
  readonly redis?: string | undefined
  readonly stream?: readonly string[] | undefined
  readonly priorities?: string | undefined
  readonly group?: string | undefined
}

/** A server, and what of it a command is to inspect. */
export interface InspectionTargets {
  /** Must be closed. */
  readonly redis: Connection
  /** Where it is, for messages: host and port, without a password. */
  readonly server: string
  /** The modules' consumers, only one group's if asked. */
  readonly consumers: readonly Consumer[]
  /** Sets of streams, of the modules or as they were named. */
  readonly sets: readonly NamedSet[]
  /** The named streams, and those of named sets, else those of the consumers; none: nothing was named. */
  readonly streams: readonly string[]
  readonly group: string | undefined
}

/**
 * Connects, and loads the modules that were named.
 *
 * @param command The command's name, for messages.
 * @throws {UsageError} No server, a name that is empty, or a module without consumers.
 */
export async function connectInspectionTargets(
  command: string,
  modules: readonly string[],
  values: TargetOptionValues,
): Promise<InspectionTargets> {
  const { redis: url = process.env.REDIS_URL, stream: streams = [], priorities, group } = values
  if (!url)
    throw new UsageError(`millrace ${command}: --redis URL, or the variable REDIS_URL, must say where the server is`)
  // what a shell makes of a variable that is not set
  if (streams.includes('') || group === '')
    throw new UsageError(`millrace ${command}: ${group === '' ? '--group' : '--stream'} must not be empty`)
  const address = readAddress(command, url)
  // a consumer's module may read it, as the sample's does
  process.env.REDIS_URL ??= url
  const consumers = await consumersIn(command, modules, group)
  const sets = priorities === undefined ? setsOf(consumers) : namedSets(command, streams, priorities)
  return {
    redis: await connectTo(command, url, address),
    server: shown(address),
    consumers,
    sets,
    streams: streams.length > 0 ? streamsOf(streams, sets) : [...new Set(consumers.map((consumer) => consumer.stream))],
    group,
  }
}

/** A set's name stands for its streams. */
export function streamsOf(names: readonly string[], sets: readonly NamedSet[]): readonly string[] {
  return names.flatMap((name) => sets.find((set) => set.name === name)?.streams ?? [name])
}

/** Every stream that was named is a set of these priorities. @throws {UsageError} None was named, or these cannot be priorities. */
function namedSets(command: string, streams: readonly string[], priorities: string): readonly NamedSet[] {
  if (streams.length === 0) throw new UsageError(`millrace ${command}: --priorities needs the name of a set`)
  try {
    return streams.map((name) => prioritized(name, priorities.split(',')))
  } catch (cause) {
    throw new UsageError(`millrace ${command}: --priorities: ${(cause as Error).message}`)
  }
}

/** The consumers of modules, or those of one group. @throws {UsageError} There are some, and none of that group. */
async function consumersIn(command: string, modules: readonly string[], group: string | undefined) {
  // a module may export those of another one, too
  const loaded = [...new Set((await Promise.all(modules.map((file) => loadConsumers(command, file)))).flat())]
  const consumers = loaded.filter((consumer) => group === undefined || consumer.group === group)
  if (loaded.length > 0 && consumers.length === 0)
    throw new UsageError(`millrace ${command}: no consumer of group ${quotedValue(group)} in ${modules.join(', ')}`)
  return consumers
}

/** The package that each kind of server is reached with. */
const CLIENTS = { tcp: 'ioredis', socket: 'ioredis', rest: '@upstash/redis' } as const

/** Reads the URL. No message shows any of it: it may hold a password. */
function readAddress(command: string, url: string): ServerAddress {
  try {
    return parseServerUrl('connect to --redis or REDIS_URL', url)
  } catch (cause) {
    throw new UsageError(`millrace ${command}: ${(cause as Error).message}`)
  }
}

/** The client is loaded by the URL, so that a project needs but the one that it uses. */
async function connectTo(command: string, url: string, address: ServerAddress): Promise<Connection> {
  try {
    if (address.kind !== 'rest') {
      const { connectIoredis } = await import('../clients/ioredis.ts')
      return connectIoredis(url, await signIn(address))
    }
    const { connectUpstash } = await import('../clients/upstash.ts')
    return connectUpstash({ url: address.url, token: address.token })
  } catch (cause) {
    if (cause instanceof TypeError) throw new UsageError(`millrace ${command}: ${cause.message}`)
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw cause
    const client = CLIENTS[address.kind]
    const text = `millrace ${command}: this URL needs the package ${client}: npm install ${client}`
    throw new UsageError(text, { cause })
  }
}

/** With `?iam=` in the URL, by the role of whoever runs the command. */
async function signIn({ iam, username }: RedisAddress) {
  if (iam === undefined || username === undefined) return undefined
  const { iamAuth } = await import('../calls/elasticache-iam.ts')
  return iamAuth({ userId: username, cacheName: iam })
}

function shown(address: ServerAddress): string {
  if (address.kind === 'rest') return new URL(address.url).host
  if (address.path !== undefined) return address.path
  return address.hosts.map(({ host, port }) => `${host.includes(':') ? `[${host}]` : host}:${port}`).join(',')
}

/** Commands whose words are modules, though the stream of others is a word: whoever gives one its name means that. */
const WITH_STREAM_OPTION = /^(status|tail|doctor|dlq)\b/

/** The consumers that a module exports. @throws {UsageError} It has none, is not there, or cannot be loaded. */
export async function loadConsumers(command: string, file: string): Promise<Consumer[]> {
  if (!existsSync(resolve(file))) {
    const hint = WITH_STREAM_OPTION.test(command) ? '; a stream is named by --stream' : ''
    throw new UsageError(`millrace ${command}: cannot load ${printable(file)}: there is no such file${hint}`)
  }
  let exports: Record<string, unknown>
  try {
    exports = (await import(pathToFileURL(resolve(file)).href)) as Record<string, unknown>
  } catch (cause) {
    const { message = String(cause) } = (cause ?? {}) as Partial<Error>
    throw new UsageError(`millrace ${command}: cannot load ${file}: ${message}`, { cause })
  }
  const consumers = [...new Set(Object.values(exports).flatMap(consumersOf))]
  if (consumers.length === 0) throw new UsageError(`millrace ${command}: ${file} must export what defineConsumer made`)
  return consumers
}

/** A consumer, or those of a set; a plain list of consumers is none of ours. */
function consumersOf(value: unknown): readonly Consumer[] {
  if (!Array.isArray(value)) return isConsumer(value) ? [value] : []
  return value.length > 0 && value.every((one) => isConsumer(one) && one.set) ? value : []
}

function isConsumer(value: unknown): value is Consumer {
  const { routes, settings, keys } = (value ?? {}) as Partial<Consumer>
  return Boolean(routes && settings && keys)
}
