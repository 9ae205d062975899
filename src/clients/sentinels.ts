import type { ConnectionOptions } from 'node:tls'
import { Redis } from 'ioredis'
import { RedisReplyError } from '../errors.ts'
import { toReplyError } from '../group/redis/reply-errors.ts'
import type { SentinelPrimary } from './connector.ts'
import { createSocketConnectorClass } from './connector.ts'
import { startDeadline } from './deadline.ts'
import { describeSocketError, NOT_REDIS_MESSAGE } from './trouble.ts'
import type { HostPort } from './url.ts'

/** Sentinels, and as whom they are asked for which primary. */
export interface SentinelTarget {
  readonly hosts: readonly HostPort[]
  readonly name: string
  /** `undefined`: without TLS. */
  readonly tls: ConnectionOptions | undefined
  readonly username: string | undefined
  /** Asked once per connection to a sentinel. */
  readonly password: () => Promise<string | undefined>
  readonly family: number | undefined
  /** Milliseconds until one of them must have answered. */
  readonly connectTimeoutMs: number
  /** Sentinels are listened to for as long as the primary is connected to. */
  readonly isWatched: boolean
}

const SWITCHED = '+switch-master'
/** Milliseconds after which a sentinel is connected to again that was lost. */
const AGAIN_AFTER_MS = 2_000
/** Milliseconds for sentinels to say why they could not be connected to in time. */
const GRACE_MS = 200

const OPTIONS = {
  retryStrategy: () => null,
  maxRetriesPerRequest: 0,
  enableReadyCheck: false,
  disableClientInfo: true,
  protocol: 2,
} as const

/**
 * Asks all sentinels side by side where the primary is: the first that knows is believed, so that one that is down or hangs costs nothing.
 *
 * A later failover is reported on the same connections (`+switch-master`): the old primary may hang, and would take writes once it wakes.
 *
 * @throws {RedisReplyError} The sentinels refuse the login. @throws {Error} None of them answered, or knows the name.
 */
export async function findPrimary(target: SentinelTarget): Promise<SentinelPrimary> {
  const watch = new Watch(target)
  const deadline = startDeadline(target.connectTimeoutMs + GRACE_MS, () => new Error('no sentinel answered'))
  try {
    await deadline.of(watch.open())
    return watch
  } catch (error) {
    watch.close()
    throw error instanceof AggregateError ? whyNone(error.errors) : error
  } finally {
    deadline.cancel()
    if (!target.isWatched) watch.close()
  }
}

class Watch implements SentinelPrimary {
  readonly #target: SentinelTarget
  readonly #clients = new Set<Redis>()
  #place: HostPort | undefined
  #act: (() => void) | undefined
  #isClosed = false

  constructor(target: SentinelTarget) {
    this.#target = target
  }

  get place(): HostPort {
    return this.#place as HostPort
  }

  async open(): Promise<void> {
    this.#place = await Promise.any(this.#target.hosts.map((host) => this.#ask(host)))
  }

  onSwitch(act: () => void): void {
    this.#act = act
  }

  close(): void {
    this.#isClosed = true
    for (const client of this.#clients) client.disconnect()
  }

  /** @throws {Error} It cannot be asked, or does not know. */
  async #ask(host: HostPort): Promise<HostPort> {
    const { name, isWatched } = this.#target
    const client = this.#connect(host)
    let trouble: Error | undefined
    client.on('error', (error) => {
      trouble = error
    })
    const asked = client.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', name)
    // in the same write: what comes after the answer is heard
    if (isWatched) client.subscribe(SWITCHED).catch(() => {})
    const reply = await asked.catch((error: Error) => Promise.reject(trouble ?? error))
    return placeIn(reply)
  }

  #connect(host: HostPort): Redis {
    const { tls, username, password, family, connectTimeoutMs } = this.#target
    const place = { ...host, ...(family !== undefined && { family }) }
    const connector = createSocketConnectorClass({
      place,
      tls,
      username,
      password,
      isByIam: false,
      db: 0,
      connectTimeoutMs,
      attempts: 1,
    })
    const client = new Redis({ ...place, ...OPTIONS, Connector: connector })
    this.#clients.add(client)
    client.on('message', (_channel, text) => this.#hear(text))
    client.on('end', () => {
      this.#clients.delete(client)
      if (this.#isClosed || !this.#place) return
      setTimeout(() => this.#askAgain(host), AGAIN_AFTER_MS).unref()
    })
    return client
  }

  /** What was said meanwhile was not heard. */
  #askAgain(host: HostPort): void {
    if (!this.#isClosed)
      this.#ask(host).then(
        (place) => this.#name(place),
        () => {},
      )
  }

  /** @param text `<name> <old host> <old port> <new host> <new port>` */
  #hear(text: string): void {
    const [name, , , host = '', port] = text.split(' ')
    if (name === this.#target.name) this.#name({ host, port: Number(port) })
  }

  #name({ host, port }: HostPort): void {
    if (this.#isClosed || !this.#place || (host === this.#place.host && port === this.#place.port)) return
    const act = this.#act
    this.#act = undefined
    act?.()
  }
}

function placeIn(reply: unknown): HostPort {
  if (reply === null) throw new Error('the sentinel knows no primary by the name in the URL')
  const [host = '', port] = Array.isArray(reply) ? (reply as unknown[]).map(String) : []
  if (host === '' || !(Number(port) > 0)) throw new Error(NOT_REDIS_MESSAGE)
  return { host, port: Number(port) }
}

/** What to change, by what a sentinel says; the last row is every other refusal. */
const ADVICE: readonly (readonly [said: RegExp, advice: string])[] = [
  [/unknown command/i, 'the hosts must be of sentinels, port 26379'],
  [/^NOPERM\b/, "the sentinels' user needs +sentinel|get-master-addr-by-name, +subscribe and allchannels"],
  [/^(WRONGPASS|NOAUTH)\b|\bAUTH\b/, 'correct sentinelUsername and sentinelPassword'],
  [/(?:)/, 'a sentinel says so'],
]

/** One word for all sentinels: what has to be changed, if one says so. */
function whyNone(errors: readonly Error[]): Error {
  const refused = errors.find((error) => error instanceof RedisReplyError || error.name === 'ReplyError')
  if (refused) {
    const [said = ''] = toReplyError(refused.message).message.split('; ')
    const [, advice] = ADVICE.find(([pattern]) => pattern.test(said)) ?? []
    return new RedisReplyError(`no sentinel names a primary: ${said.replace(/[.\s]+$/, '')}; ${advice}`)
  }
  const unknown = errors.find(({ message }) => message.includes('knows no primary'))
  return new Error(`no sentinel names a primary: ${describeSocketError(unknown ?? errors.at(-1))}`)
}
