import type { Redis } from 'ioredis'

/** Microseconds that each of so many takes, by the clock. */
export async function micros(times: number, work: () => Promise<void>): Promise<number> {
  const start = performance.now()
  await work()
  return ((performance.now() - start) * 1_000) / times
}

/** Processor time of the server, in microseconds. */
export async function serverMicros(raw: Redis): Promise<number> {
  const info = await raw.info('cpu')
  return ['sys', 'user'].reduce((sum, of) => sum + 1e6 * Number(new RegExp(`used_cpu_${of}:(\\S+)`).exec(info)?.[1]), 0)
}

/** Commands that it ran, those within scripts too. */
export async function commandsRun(raw: Redis): Promise<number> {
  const stats = await raw.info('commandstats')
  return [...stats.matchAll(/^cmdstat_(?!info|config)\S+?:calls=(\d+)/gm)].reduce(
    (sum, [, calls]) => sum + Number(calls),
    0,
  )
}

/** Bytes that the server uses. */
export async function usedMemory(raw: Redis): Promise<number> {
  return Number(/used_memory:(\d+)/.exec(await raw.info('memory'))?.[1])
}
