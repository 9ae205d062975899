import type { Redis } from 'ioredis'
import type { Script } from '../../src/group/redis/scripts/script.ts'

/** What a call of a script took of the server's time, and what the commands inside it did. */
export interface ServerTime {
  readonly ms: number
  readonly reply: unknown
  /** The commands that took most of it: `xpending 12.1 ms in 500 calls`. */
  readonly profile: string
}

/** Calls a script by its digest, and asks the server how long it was busy with it: no network, no client is part of it. */
export async function timeOf(
  redis: Redis,
  script: Script,
  keys: readonly string[],
  args: readonly (string | number)[],
): Promise<ServerTime> {
  const digest = (await redis.script('LOAD', script.lua)) as string
  const [, called, stats] = await Promise.all([
    redis.config('RESETSTAT'),
    redis.evalsha(digest, keys.length, ...keys, ...args),
    redis.info('commandstats'),
  ])
  const rows = [...stats.matchAll(/^cmdstat_(\S+):calls=(\d+),usec=(\d+)/gm)].map(([, name = '', calls, usec]) => ({
    name,
    calls: Number(calls),
    ms: Number(usec) / 1_000,
  }))
  const inside = rows.filter(({ name }) => !/^(evalsha|config|info|client)/.test(name)).toSorted((a, b) => b.ms - a.ms)
  return {
    ms: rows.find(({ name }) => name === 'evalsha')?.ms ?? Number.NaN,
    reply: called,
    profile: inside
      .slice(0, 3)
      .map(({ name, calls, ms }) => `${name} ${ms.toFixed(1)} ms in ${calls} calls`)
      .join(', '),
  }
}
