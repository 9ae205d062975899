import type { Redis } from 'ioredis'
import type { LuaScript } from '../../src/group/redis/scripts/script.ts'

/** What a call of a script took of the server's time, and what the commands inside it did. */
export interface ServerTime {
  readonly ms: number
  /** How much of it the server's main thread ran for: on a busy machine other programs have the rest. */
  readonly cpuMs: number
  readonly reply: unknown
  /** The commands that took most of it: `xpending 12.1 ms in 500 calls`. */
  readonly profile: string
}

/** Calls a script by its digest, and asks the server how long it was busy with it: no network, no client is part of it. */
export async function timeOf(
  redis: Redis,
  script: LuaScript,
  keys: readonly string[],
  args: readonly (string | number)[],
): Promise<ServerTime> {
  const digest = (await redis.script('LOAD', script.lua)) as string
  // pipelined: the server runs them one after the other, and nothing between them
  const [, before, called, after, stats] = await Promise.all([
    redis.config('RESETSTAT'),
    redis.info('cpu'),
    redis.evalsha(digest, keys.length, ...keys, ...args),
    redis.info('cpu'),
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
    cpuMs: cpuMs(after) - cpuMs(before),
    reply: called,
    profile: inside
      .slice(0, 3)
      .map(({ name, calls, ms }) => `${name} ${ms.toFixed(1)} ms in ${calls} calls`)
      .join(', '),
  }
}

function cpuMs(info: string): number {
  const seconds = (name: string) => Number(new RegExp(`^used_cpu_${name}_main_thread:(\\S+)`, 'm').exec(info)?.[1])
  return (seconds('user') + seconds('sys')) * 1_000
}
