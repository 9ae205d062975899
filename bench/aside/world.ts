import type { Redis } from 'ioredis'
import { consumerKeys } from '../../src/core/keys.ts'

export const GROUP = 'billing'
export const KEYS = consumerKeys('orders', GROUP)
/** Conditions that entries wait for: as many as a claimer inspects. */
export const CONDITIONS = Array.from({ length: 100 }, (_, n) => `breaker Event${String(n).padStart(3, '0')}`)

/** How what is set aside comes back. */
export type State = 'nothing due' | 'half due' | 'all due' | 'by condition'
export const STATES: readonly State[] = ['nothing due', 'half due', 'all due', 'by condition']

const CHUNK = 10_000
/** Milliseconds of the first id; each entry is a millisecond after the one before. */
const FIRST_MS = 1_700_000_000_000

/** Adds entries and hands them to `parked`, on the server: their bodies go nowhere. */
const SEED = `
local first, count = tonumber(ARGV[2]), tonumber(ARGV[3])
for n = first, first + count - 1 do
  redis.call('XADD', KEYS[1], ('%.0f-0'):format(${FIRST_MS} + n), 'type', 'OrderPaid', 'version', '1', 'eventId', ('%032d'):format(n), 'payload', '{"orderId":"order-1","amount":"12.00","currency":"EUR"}')
end
redis.call('XREADGROUP', 'GROUP', ARGV[1], 'parked', 'COUNT', count, 'STREAMS', KEYS[1], '>')`

const PLACE_DUE = `
local first, count, ms, half = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
for n = first, first + count - 1 do
  local at = n % 2 == 0 and half or ms
  redis.call('ZADD', KEYS[1], ('%.0f'):format((at + n) * 1024 + 1), ('%.0f-0'):format(${FIRST_MS} + n))
end`

const PLACE_WAITING = `
local first, count = tonumber(ARGV[1]), tonumber(ARGV[2])
local conditions = #ARGV - 2
for n = first, first + count - 1 do
  redis.call('ZADD', KEYS[1], 0, ('%s\\n%s%.0fA0:1'):format(ARGV[3 + n % conditions], 'M', ${FIRST_MS} + n))
end`

/** Fills an empty server: so many entries that are pending under `parked`, and no index yet. */
export async function seed(redis: Redis, entries: number): Promise<void> {
  await redis.xgroup('CREATE', KEYS.stream, GROUP, '0', 'MKSTREAM')
  await redis.set(KEYS.slot('claimer-0'), 'token')
  for (const first of chunks(entries)) await redis.eval(SEED, 1, KEYS.stream, GROUP, first, CHUNK)
}

/** Gives each of the entries its place in an index that was empty. @returns Bytes per entry that it takes. */
export async function place(redis: Redis, entries: number, state: State): Promise<number> {
  await redis.config('SET', 'lazyfree-lazy-user-del', 'no')
  await redis.del(KEYS.due, KEYS.waiting)
  const before = await usedMemory(redis)
  const now = Date.now()
  const [past, future] = [now - entries - 1_000, now + 3_600_000]
  const times: Readonly<Record<State, readonly number[]>> = {
    'nothing due': [future, future],
    'half due': [future, past],
    'all due': [past, past],
    'by condition': [],
  }
  for (const first of chunks(entries)) {
    if (state === 'by condition') await redis.eval(PLACE_WAITING, 1, KEYS.waiting, first, CHUNK, ...CONDITIONS)
    else await redis.eval(PLACE_DUE, 1, KEYS.due, first, CHUNK, ...times[state])
  }
  return ((await usedMemory(redis)) - before) / entries
}

/** Leaves a hundred entries behind, as a poller whose process died. */
export async function leaveOrphans(redis: Redis): Promise<void> {
  const ids = await Promise.all(Array.from({ length: 100 }, () => redis.xadd(KEYS.stream, '*', 'type', 'OrderPaid')))
  await redis.xreadgroup('GROUP', GROUP, 'poller-9', 'COUNT', 100, 'STREAMS', KEYS.stream, '>')
  await redis.call(
    'XCLAIM',
    KEYS.stream,
    GROUP,
    'poller-9',
    0,
    ...(ids as string[]),
    'IDLE',
    120_000,
    'RETRYCOUNT',
    1,
    'JUSTID',
  )
}

/** Loses the group, and makes it again above all that was set aside. */
export async function loseGroup(redis: Redis): Promise<void> {
  await redis.xgroup('DESTROY', KEYS.stream, GROUP)
  await redis.xgroup('CREATE', KEYS.stream, GROUP, '$')
  const mark = (await redis.xrevrange(KEYS.stream, '+', '-', 'COUNT', 1))[0]?.[0] ?? '0-0'
  await redis.hset(KEYS.state, 'mark', mark, 'healing', mark, 'healDue', '0', 'healWaiting', '')
}

function chunks(entries: number): number[] {
  return Array.from({ length: Math.ceil(entries / CHUNK) }, (_, n) => n * CHUNK)
}

async function usedMemory(redis: Redis): Promise<number> {
  return Number(/^used_memory:(\d+)/m.exec(await redis.info('memory'))?.[1])
}
