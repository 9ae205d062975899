import { Redis } from 'ioredis'
import { STREAM } from './orders.ts'

/** Entries that the group has not acked, or, one of them, has yet to read. */
export function unfinishedEntries(url: string, group: string): Promise<number> {
  return inspect(url, async (redis) => {
    const [pending] = (await redis.xpending(STREAM, group)) as [number]
    const unread = await redis.xreadgroup('GROUP', group, 'check', 'COUNT', 1, 'STREAMS', STREAM, '>')
    return pending + (unread === null ? 0 : 1)
  })
}

/**
 * Counts the commands that the server runs meanwhile, from `INFO commandstats`. Commands that scripts call count too, so the number is
 * never below what the client sent; our own INFO does not count.
 */
export function countCommands(url: string, work: () => Promise<void>): Promise<number> {
  return inspect(url, async (redis) => {
    const before = await commandsRun(redis)
    await work()
    return (await commandsRun(redis)) - before
  })
}

/** Takes the stream away, with its groups. */
export function resetStream(url: string): Promise<number> {
  return inspect(url, (redis) => redis.del(STREAM))
}

export function streamLength(url: string): Promise<number> {
  return inspect(url, (redis) => redis.xlen(STREAM))
}

export function redisVersion(url: string): Promise<string> {
  return inspect(url, async (redis) => /redis_version:(\S+)/.exec(await redis.info('server'))?.[1] ?? 'unknown')
}

async function inspect<Result>(url: string, look: (redis: Redis) => Promise<Result>): Promise<Result> {
  const redis = new Redis(url)
  try {
    await redis.ping()
    return await look(redis)
  } finally {
    redis.disconnect()
  }
}

async function commandsRun(redis: Redis): Promise<number> {
  const stats = await redis.info('commandstats')
  let calls = 0
  for (const [, name, count] of stats.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm))
    if (name !== 'info') calls += Number(count)
  return calls
}
