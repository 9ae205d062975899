import type { Redis } from 'ioredis'

/** Times that were taken have no end: their scores begin there. */
const RUNNING = 9e15
/** What a millisecond is in a score. */
const A_MS = 1_024

/** Brings what is set aside nearer to its time, as if so many milliseconds had passed. */
export async function passOnDue(raw: Redis, ms: number, key = '{orders}:billing:due'): Promise<void> {
  if ((await raw.type(key)) !== 'zset') return
  // with memory full it would be refused
  const [, most = '0'] = (await raw.config('GET', 'maxmemory')) as string[]
  if (most !== '0') await raw.config('SET', 'maxmemory', '0')
  for (const id of await raw.zrangebyscore(key, '-inf', `(${RUNNING}`)) await raw.zincrby(key, -ms * A_MS, id)
  if (most !== '0') await raw.config('SET', 'maxmemory', most)
}

/** In how many milliseconds an entry is due, by this machine's clock; Infinity if it was taken, `undefined` if the index does not have it. */
export async function dueInMs(raw: Redis, id: string, key = '{orders}:billing:due'): Promise<number | undefined> {
  const score = await raw.zscore(key, id)
  if (score === null) return undefined
  return Number(score) >= RUNNING ? Infinity : Number(score) / A_MS - Date.now()
}

/** Sets entries aside with so many deliveries, due by now, in their order. */
export async function setAside(
  raw: Redis,
  ids: readonly string[],
  deliveryCount = 1,
  group = 'billing',
): Promise<void> {
  await raw.call('xclaim', 'orders', group, 'parked', 0, ...ids, 'IDLE', 0, 'RETRYCOUNT', deliveryCount, 'JUSTID')
  await raw.zadd(`{orders}:${group}:due`, ...ids.flatMap((id, n) => [A_MS * (n + 1) + deliveryCount, id]))
}
