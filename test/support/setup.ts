import { findRedisServer } from '../../tools/redis-server.ts'

/** Finds redis-server once per run, installing it if need be; the test processes inherit its path. */
export async function setup(): Promise<void> {
  process.env.MILLRACE_REDIS_SERVER = await findRedisServer()
}
