import type { Redis } from 'ioredis'

/** Times that were taken have no end: their scores begin there. */
const RUNNING = 9e15
/** What a millisecond is in a score. */
const A_MS = 1_024

/** Brings what is set aside nearer to its time, as if so many milliseconds had passed. */
export async function passOnDue(raw: Redis, ms: number, key = '{orders}:billing:due'): Promise<void> {
  for (const id of await raw.zrangebyscore(key, '-inf', `(${RUNNING}`)) await raw.zincrby(key, -ms * A_MS, id)
}

/** In how many milliseconds an entry is due, by this machine's clock; Infinity if it was taken, `undefined` if the index does not have it. */
export async function dueInMs(raw: Redis, id: string, key = '{orders}:billing:due'): Promise<number | undefined> {
  const score = await raw.zscore(key, id)
  if (score === null) return undefined
  return Number(score) >= RUNNING ? Infinity : Number(score) / A_MS - Date.now()
}

/** Sets an entry aside with so many deliveries, due by now. */
export async function setAside(raw: Redis, id: string, deliveryCount: number, group = 'billing'): Promise<void> {
  await raw.call('xclaim', 'orders', group, 'parked', 0, id, 'IDLE', 0, 'RETRYCOUNT', deliveryCount, 'JUSTID')
  await raw.zadd(`{orders}:${group}:due`, A_MS + deliveryCount, id)
}
