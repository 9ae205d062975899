import { assertBoolean, assertFunction, assertInteger, assertNumber, wrongUseError } from '../core/options.ts'

/** Options that are refused, by why; every other one of a factory's client is harmless, or is set or undone where a client is made or used. */
const REFUSALS: readonly (readonly [names: RegExp, why: string])[] = [
  [/^monitor$/, 'a monitoring client sends no commands'],
  [/^(readOnly|role|scaleReads)$/, 'only a primary takes part, also to read'],
]

/** What goes with a URL. */
const WITH_URL =
  'username password db tls family keepAlive noDelay connectionName disableClientInfo clientInfoTag ' +
  'commandTimeout connectTimeout socketTimeout disconnectTimeout blockingTimeout blockingTimeoutGrace ' +
  'retryStrategy reconnectOnError maxRetriesPerRequest maxLoadingRetryTime ' +
  'lazyConnect enableReadyCheck enableOfflineQueue offlineQueue commandQueue autoResendUnfulfilledCommands autoResubscribe ' +
  'enableAutoPipelining autoPipeliningIgnoredCommands ' +
  'keyPrefix stringNumbers protocol replyMapping showFriendlyErrorStack'

/** What goes with the URL of sentinels beside. */
export const SENTINEL_OPTION_NAMES = [
  'sentinelUsername',
  'sentinelPassword',
  'sentinelTLS',
  'enableTLSForSentinelMode',
  'failoverDetector',
] as const

type Rule = (action: string, name: string, value: unknown) => void

/** A timer of more would end at once. */
const MOST_MS = 2_147_483_647

/** What would fail far from here, or not at all, if it were of another type. */
const RULES: readonly (readonly [names: RegExp, rule: Rule])[] = [
  [/Timeout$/, (action, name, value) => assertNumber(action, name, value, 1, MOST_MS)],
  [/^(family|keepAlive|maxRetriesPerRequest|db)$/, (action, name, value) => assertInteger(action, name, value, 0)],
  [/Strategy$/, assertFunction],
  [/^(enableTLSForSentinelMode|failoverDetector)$/, assertBoolean],
  [
    /^(username|sentinelUsername|keyPrefix)$/,
    (action, name, value) => {
      if (typeof value !== 'string') throw wrongUseError(action, `${name} must be a string`)
    },
  ],
]

const MAY_BE_NULL = /^(maxRetriesPerRequest|\w+Strategy)$/

/**
 * Milliseconds after which a server is hung up on that is asked and says nothing. One that hangs may be no primary any more once it wakes, and would
 * acknowledge what its successor does not have.
 */
export const SOCKET_TIMEOUT_MS = 2_000

/** What of a factory's client is read; an option with one of these values is as good as left out. */
export type ClientOptions = Readonly<Record<string, unknown>>

const HARMLESS_VALUES: ClientOptions = { role: 'master', scaleReads: 'master', readOnly: false, monitor: false }

/** @throws {TypeError} An option is unknown or refused: its name and why. @param isSentinels The URL is one of sentinels. */
export function checkUrlOptions(action: string, options: object, isSentinels = false): void {
  const known: readonly string[] = [...WITH_URL.split(' '), ...(isSentinels ? SENTINEL_OPTION_NAMES : [])]
  for (const [name, own] of Object.entries(Object.getOwnPropertyDescriptors(options))) {
    // a getter, as of a password that changes, is not read before it is needed
    if (own.get === undefined) refuse(action, name, own.value)
    if (!known.includes(name) && (own.get !== undefined || isGiven(name, own.value)))
      throw wrongUseError(action, `option ${name} is refused: ${whereItGoes(name)}`)
    if (own.value !== undefined && (own.value !== null || !MAY_BE_NULL.test(name)))
      RULES.find(([names]) => names.test(name))?.[1](action, name, own.value)
  }
}

function whereItGoes(name: string): string {
  if (SENTINEL_OPTION_NAMES.includes(name as (typeof SENTINEL_OPTION_NAMES)[number]))
    return 'it goes with the URL of sentinels, redis+sentinel://'
  return 'it goes with no URL, but with a factory, connectIoredis(() => new Redis({ … }))'
}

/** @throws {TypeError} The client of a factory has an option that is refused: its name and why. */
export function checkClientOptions(action: string, options: ClientOptions): void {
  for (const [name, value] of Object.entries(options)) refuse(action, name, value)
  const { redisOptions } = options
  if (isOptionsObject(redisOptions)) checkClientOptions(action, redisOptions)
}

function refuse(action: string, name: string, value: unknown): void {
  const [, why] = REFUSALS.find(([names]) => names.test(name)) ?? []
  if (why !== undefined && isGiven(name, value)) throw wrongUseError(action, `option ${name} is refused: ${why}`)
}

function isGiven(name: string, value: unknown): boolean {
  return value !== undefined && value !== null && HARMLESS_VALUES[name] !== value
}

export function isOptionsObject(value: unknown): value is ClientOptions {
  return typeof value === 'object' && value !== null
}
