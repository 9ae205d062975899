import { Redis } from 'ioredis'
import type { Connection } from 'millrace'
import { promoteDelays } from 'millrace'
import { connect } from 'millrace/connect'
import { connectIoredis } from 'millrace/ioredis'
import { connectMemory, createVirtualClock } from 'millrace/testing'
import { onTestFinished } from 'vitest'
import { connectByName } from './clients.ts'
import { startRestServer } from './rest-server.ts'
import { type Scenario, type ScenarioOptions, startScenario } from './scenario.ts'

/** The keys of delayed events of stream `orders`. */
export const DELAYED = '{orders}:delayed'

/** The marker of an event id of stream `orders`. */
export const MARKER_OF = (eventId: string): string => `{orders}::published::${eventId}`

/** Where events are delayed, and what every kind of connection has to show of it. */
export interface DelayPlace {
  readonly redis: Connection
  /** What the server's clock says, to within a second. */
  now(): number
  /** Lets that much time pass for everything that is delayed, and for markers of event ids. */
  pass(ms: number): Promise<void>
  /** Entries of stream `orders`: their fields as text. */
  entries(): Promise<readonly (readonly (readonly [string, string])[])[]>
  /** How many events are delayed. */
  delayed(): Promise<number>
}

/** @param options How the scenario differs from the plain one: another server, another client. @param prefix What its client puts before keys. */
export async function delayOverTcp(
  options: ScenarioOptions = {},
  prefix = '',
): Promise<DelayPlace & { readonly scenario: Scenario }> {
  const scenario = await startScenario(options)
  return { redis: scenario.redis, scenario, ...delaysOn(scenario.raw, prefix) }
}

async function delayOverRest(): Promise<DelayPlace> {
  const { server, raw } = await startScenario()
  const rest = await startRestServer({ redisUrl: server.url, token: 'secret' })
  const redis = connect(rest.url.replace('://', '://:secret@'))
  onTestFinished(async () => {
    await redis.close()
    await rest.close()
  })
  return { redis, ...delaysOn(raw) }
}

export async function delayInMemory(): Promise<DelayPlace> {
  const clock = createVirtualClock()
  const redis = connectMemory({ clock })
  return {
    redis,
    now: () => clock.now(),
    pass: (ms) => clock.advance(ms),
    entries: async () => redis.entries('orders').map(({ fields }) => fields),
    delayed: async () => redis.delayed('orders').length,
  }
}

/** Servers beside the one that is found. */
const BINARIES = (process.env.MILLRACE_REDIS_BINARIES ?? '').split(/[:,\s]+/).filter(Boolean)

const withPrefix = (url: string) => connectIoredis(() => new Redis(url, { keyPrefix: 'shop:' }))

/** Every kind of connection, by name. */
export const DELAY_PLACES: readonly (readonly [name: string, start: () => Promise<DelayPlace>])[] = [
  ['TCP', () => delayOverTcp()],
  ['TCP with RESP3', () => delayOverTcp({ connect: (url) => connectByName(url, 'RESP3') })],
  ['TCP with a key prefix', () => delayOverTcp({ connect: withPrefix }, 'shop:')],
  ...BINARIES.map((program) => [`TCP to ${program}`, () => delayOverTcp({ server: { program } })] as const),
  ['REST', delayOverRest],
  ['memory', delayInMemory],
]

/** The same of a server that another client sees. */
export function delaysOn(raw: Redis, prefix = ''): Omit<DelayPlace, 'redis'> {
  return {
    now: () => Date.now(),
    async pass(ms) {
      await passDelays(raw, ms, prefix)
      await passMarkers(raw, ms, prefix)
    },
    async entries() {
      const entries = await raw.xrange(`${prefix}orders`, '-', '+')
      return entries.map(([, flat]) =>
        Array.from({ length: flat.length / 2 }, (_, n) => [flat[2 * n] as string, flat[2 * n + 1] as string] as const),
      )
    },
    delayed: () => countDelayed(raw, `${prefix}${DELAYED}`),
  }
}

/** How many events are delayed, those that cannot be read included. */
export async function countDelayed(raw: Redis, key: string = DELAYED): Promise<number> {
  return Number.parseInt((await raw.hget(`${key}:events`, '#')) ?? '0', 10)
}

const NEARER = `
for _, page in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(9e15')) do redis.call('ZINCRBY', KEYS[1], '-' .. ARGV[1], page) end
local first = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(9e15', 'WITHSCORES', 'LIMIT', 0, 1)[2]
if first then redis.call('SET', KEYS[2], ('%.0f'):format(first)) end
`

/** A server's clock cannot be moved: what is delayed is moved instead, and the flag with it. */
export async function passDelays(raw: Redis, ms: number, prefix = ''): Promise<void> {
  await raw.eval(NEARER, 2, `${prefix}${DELAYED}`, `${prefix}${DELAYED}:next`, ms)
}

/** The same for markers of event ids: their windows are shortened. */
async function passMarkers(raw: Redis, ms: number, prefix: string): Promise<void> {
  const markers = await raw.keys(`${prefix}${MARKER_OF('*')}`)
  await Promise.all(markers.map(async (key) => raw.pexpire(key, (await raw.pttl(key)) - ms)))
}

/** Promotes all that is due on stream `orders`, a page after the other. @returns How many that were. */
export async function promoteAll(redis: Connection, promoter = promoteDelays()): Promise<number> {
  let promoted = 0
  for (;;) {
    const page = await promoter.promote({ redis, stream: 'orders' })
    if (page.refusals[0]) throw page.refusals[0]
    promoted += page.promoted
    if (page.nextDueAt === undefined || page.nextDueAt > page.nowMs) return promoted
  }
}
