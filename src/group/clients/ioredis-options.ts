import { cannot } from '../../core/options.ts'

/** Options that are refused, by why; every option that is not here is harmless, or is set or undone where a client is made or used. */
type Refusals = readonly (readonly [names: RegExp, why: string])[]

const OF_FACTORY: Refusals = [
  [/^monitor$/, 'a monitoring client sends no commands'],
  [/^(readOnly|role|scaleReads)$/, 'only a primary takes part, also to read'],
]

const WITH_URL: Refusals = [
  ...OF_FACTORY,
  [/^(host|port|path)$/, 'the URL says it'],
  [
    // of Sentinel and Cluster
    /^(sentinel|enableTLSForS|preferredS|updateS|failoverD|name$|Connector|natMap|redisO|cluster|maxRed|retryDelay|slotsR|sharded|useSRV|resolveSrv|dnsL)/,
    'it is for a factory, connectIoredis(() => new Redis({ … }))',
  ],
]

/** What of a factory's client is read; an option with one of these values is as good as left out. */
export type ClientOptions = Readonly<Record<string, unknown>>

const HARMLESS_VALUES: ClientOptions = { role: 'master', scaleReads: 'master', readOnly: false, monitor: false }

/** @throws {TypeError} An option is refused: its name and why. */
export function checkUrlOptions(action: string, options: object): void {
  for (const [name, own] of Object.entries(Object.getOwnPropertyDescriptors(options))) {
    // a getter, as of a password that changes, is not read before it is needed
    if (own.get === undefined) refuse(action, WITH_URL, name, own.value)
  }
}

/** @throws {TypeError} The client of a factory has an option that is refused: its name and why. */
export function checkClientOptions(action: string, options: ClientOptions): void {
  for (const [name, value] of Object.entries(options)) refuse(action, OF_FACTORY, name, value)
  const { redisOptions } = options
  if (isRecord(redisOptions)) checkClientOptions(action, redisOptions)
}

function refuse(action: string, refusals: Refusals, name: string, value: unknown): void {
  if (value === undefined || value === null || HARMLESS_VALUES[name] === value) return
  const [, why] = refusals.find(([names]) => names.test(name)) ?? []
  if (why !== undefined) throw cannot(action, `option ${name} is refused: ${why}`)
}

export function isRecord(value: unknown): value is ClientOptions {
  return typeof value === 'object' && value !== null
}
