import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Consumer } from '../consumer.ts'
import { quoted } from '../core/quoted.ts'
import type { Connection } from '../group/group.ts'
import { UsageError } from './usage-error.ts'

/** The options of every command that looks at a server, for `parseArgs`. */
export const TARGET_OPTIONS = {
  redis: { type: 'string' },
  stream: { type: 'string', multiple: true },
  group: { type: 'string' },
  help: { type: 'boolean', short: 'h', default: false },
} as const

/** Their part of a command's usage text. */
export const TARGET_USAGE = `  MODULE         a file that exports consumers, as from defineConsumer: their streams, groups and settings
  --stream KEY   a stream, instead of a module; may be repeated
  --group NAME   one group alone
  --redis URL    the server: redis://, rediss:// or https:// (default: the variable REDIS_URL)`

/** What was given for them. */
export interface TargetValues {
  readonly redis?: string | undefined
  readonly stream?: readonly string[] | undefined
  readonly group?: string | undefined
}

/** A server, and what of it a command is to look at. */
export interface Targets {
  /** Must be closed. */
  readonly redis: Connection
  /** Where it is, for messages: host and port, without a password. */
  readonly server: string
  /** The modules' consumers, one group's alone if asked. */
  readonly consumers: readonly Consumer[]
  /** The named streams, else those of the consumers; none: nothing was named. */
  readonly streams: readonly string[]
  readonly group: string | undefined
}

/**
 * Connects, and loads the modules that were named.
 *
 * @param command The command's name, for messages.
 * @throws {UsageError} No server, or a module without consumers.
 */
export async function openTargets(command: string, modules: readonly string[], values: TargetValues): Promise<Targets> {
  const { redis: url = process.env.REDIS_URL, stream: streams = [], group } = values
  if (!url)
    throw new UsageError(`millrace ${command}: --redis URL, or the variable REDIS_URL, must say where the server is`)
  // a consumer's module may read it, as the sample's does
  process.env.REDIS_URL ??= url
  const loaded = (await Promise.all(modules.map((file) => loadConsumers(command, file)))).flat()
  const consumers = loaded.filter((consumer) => group === undefined || consumer.group === group)
  if (loaded.length > 0 && consumers.length === 0)
    throw new UsageError(`millrace ${command}: no consumer of group ${quoted(group)} in ${modules.join(', ')}`)
  return {
    redis: await connectTo(command, url),
    server: URL.parse(url)?.host ?? '',
    consumers,
    streams: streams.length > 0 ? streams : [...new Set(consumers.map((consumer) => consumer.stream))],
    group,
  }
}

/** The package that each kind of server is reached with. */
const CLIENTS: Readonly<Record<string, string>> = {
  'redis:': 'ioredis',
  'rediss:': 'ioredis',
  'https:': '@upstash/redis',
  'http:': '@upstash/redis',
}

/** The client is loaded by the URL, so that a project needs but the one that it uses. No message shows the URL: it may hold a password. */
async function connectTo(command: string, url: string): Promise<Connection> {
  const parsed = URL.parse(url)
  const client = parsed && CLIENTS[parsed.protocol]
  if (!client) throw new UsageError(`millrace ${command}: --redis must be a redis://, rediss:// or https:// URL`)
  const token = readSecret(command, parsed)
  try {
    if (client === 'ioredis') return (await import('../group/clients/ioredis.ts')).connectIoredis(url)
    const { connectUpstash } = await import('../group/clients/upstash.ts')
    return connectUpstash({ url: parsed.origin + parsed.pathname.replace(/\/$/, ''), token })
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw cause
    const text = `millrace ${command}: a ${parsed.protocol}// URL needs the package ${client}: npm install ${client}`
    throw new UsageError(text, { cause })
  }
}

/** What a URL's server is to be shown. */
function readSecret(command: string, { username, password }: URL): string {
  try {
    const [name, secret] = [username, password].map(decodeURIComponent)
    return secret || name || ''
  } catch (cause) {
    const rule = 'name and password in the URL of --redis must be percent-encoded: % is written as %25'
    throw new UsageError(`millrace ${command}: ${rule}`, { cause })
  }
}

/** The consumers that a module exports. @throws {UsageError} It has none, or cannot be loaded. */
export async function loadConsumers(command: string, file: string): Promise<Consumer[]> {
  let exports: Record<string, unknown>
  try {
    exports = (await import(pathToFileURL(resolve(file)).href)) as Record<string, unknown>
  } catch (cause) {
    const { message = String(cause) } = (cause ?? {}) as Partial<Error>
    throw new UsageError(`millrace ${command}: cannot load ${file}: ${message}`, { cause })
  }
  const consumers = Object.values(exports).filter(isConsumer)
  if (consumers.length === 0) throw new UsageError(`millrace ${command}: ${file} must export what defineConsumer made`)
  return consumers
}

function isConsumer(value: unknown): value is Consumer {
  const { routes, settings, keys } = (value ?? {}) as Partial<Consumer>
  return Boolean(routes && settings && keys)
}
