import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { delimiter, dirname } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test, vi } from 'vitest'
import { startPrivateRedis } from '../../src/local/private-redis.ts'
import { isRunning } from '../support/local-lambda.ts'

/** Where redis-server is found in these tests. */
const PATH = [dirname(process.env.MILLRACE_REDIS_SERVER ?? ''), process.env.PATH].join(delimiter)

async function inspect(url: string): Promise<{ pid: number; dir: string }> {
  const client = new Redis(url)
  const [, dir] = (await client.call('CONFIG', 'GET', 'dir')) as [string, string]
  const pid = Number(/process_id:(\d+)/.exec(await client.info('server'))?.[1])
  client.disconnect()
  return { pid, dir }
}

test('a private Redis answers, and leaves nothing', async () => {
  vi.stubEnv('PATH', PATH)
  onTestFinished(() => void vi.unstubAllEnvs())
  const redis = await startPrivateRedis()
  const { pid, dir } = await inspect(redis.url)
  expect([isRunning(pid), existsSync(dir)]).toEqual([true, true])

  await redis.stop()

  expect([isRunning(pid), existsSync(dir)]).toEqual([false, false])
})

test('a private Redis whose starter is killed ends', async () => {
  const module = new URL('../../dist/local/private-redis.js', import.meta.url).href
  const program = `import { startPrivateRedis } from ${JSON.stringify(module)}; console.log((await startPrivateRedis()).url)`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    env: { ...process.env, PATH },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const { value: url } = (await createInterface(child.stdout)[Symbol.asyncIterator]().next()) as { value: string }
  const { pid, dir } = await inspect(url)
  onTestFinished(() => rm(dir, { recursive: true, force: true }))

  child.kill('SIGKILL')

  while (isRunning(pid)) await sleep(10)
})
