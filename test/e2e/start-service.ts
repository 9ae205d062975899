import { cp, mkdtemp, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { createPublisher } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { onTestFinished } from 'vitest'
import type { FunctionDefinition, LocalInvocationReport } from '../../src/local/definitions.ts'
import type { LocalLambda } from '../../src/local/local-lambda.ts'
import { startLocalLambda } from '../../src/local/local-lambda.ts'
import { unpackService } from '../../src/local/service.ts'
import type { PrivateRedis } from '../../tools/redis-server.ts'
import { startRedisServer } from '../../tools/redis-server.ts'
import { packageIn } from '../infra/osls.ts'
import type { FaultProxy } from '../support/fault-proxy.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { Errand } from './service/errand.ts'

const root = join(import.meta.dirname, '../..')

/** What packaging needs of the repository. */
const COPIED = ['dist', 'infra', 'package.json', 'package-lock.json', 'tsconfig.json']

const POLLER = 'errands-test-poller'
const CLAIMER = 'errands-test-claimer'

/** What an errand wrote into the diary. */
export interface Note {
  readonly event: 'started' | 'done'
  readonly name: string
  readonly deliveryCount: number
  readonly consumerName: string
  readonly version?: string
  /** Milliseconds since 1970. */
  readonly at?: number
}

/** How retries come at their second. */
interface TimeKeeping {
  readonly by: 'listen' | 'wake'
  readonly timeoutMs: number
}

/** The service as it is packaged, to be started by each test anew. */
export interface PackagedErrands {
  /** @param changes To the poller. @param time How it and the claimer keep time, and for how long they run. */
  start(changes?: Partial<FunctionDefinition>, time?: TimeKeeping): Promise<ErrandService>
  remove(): Promise<void>
}

/** The packaged service on the local Lambda, with a Redis of its own. */
export interface ErrandService {
  readonly server: PrivateRedis
  /** Between the functions and their Redis. */
  readonly proxy: FaultProxy
  readonly raw: Redis
  readonly lambda: LocalLambda
  readonly functions: { readonly poller: FunctionDefinition; readonly claimer: FunctionDefinition }
  /** Every run of a function that is over. */
  readonly runs: readonly LocalInvocationReport[]
  readonly log: readonly string[]
  publish(
    ...errands: readonly {
      readonly name: string
      readonly takesMs?: number
      readonly death?: 'loop' | 'memory'
      readonly fails?: boolean
    }[]
  ): Promise<void>
  diary(): Promise<Note[]>
  /** Makes every pending entry look as if nothing had happened to it for long. */
  age(): Promise<void>
  /** How many entries are pending. */
  pending(): Promise<number>
  deadLetters(): Promise<Record<string, unknown>[]>
}

export async function packageErrands(): Promise<PackagedErrands> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-errands-'))
  for (const name of COPIED) await cp(join(root, name), join(folder, name), { recursive: true })
  await cp(join(import.meta.dirname, 'service'), folder, { recursive: true })
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'))
  const { templateFile } = await packageIn(folder)
  let started = 0
  return {
    start: (changes, time) => start(templateFile, join(folder, `started-${started++}`), changes, time),
    remove: () => rm(folder, { recursive: true, force: true }),
  }
}

async function start(
  templateFile: string,
  folder: string,
  changes: Partial<FunctionDefinition> = {},
  time?: TimeKeeping,
): Promise<ErrandService> {
  const server = await startRedisServer()
  const proxy = await startFaultProxy(server)
  const raw = new Redis(server.url)
  raw.on('error', () => {})
  const diary = join(folder, 'diary')
  const environment = { REDIS_URL: proxy.url, DIARY: diary, VERSION: '1', ...(time && { KEEPS_TIME: time.by }) }
  const service = await unpackService(templateFile, { folder, project: root, environment })
  const functionOf = (name: string) => service.functions.find((found) => found.name === name) as FunctionDefinition
  const timed = time && { timeoutMs: time.timeoutMs }
  const functions = {
    poller: { ...functionOf(POLLER), ...timed, ...changes },
    claimer: { ...functionOf(CLAIMER), ...timed },
  }
  const runs: LocalInvocationReport[] = []
  const log: string[] = []
  const lambda = await startLocalLambda({
    functions: Object.values(functions),
    schedules: service.schedules,
    onInvocation: (run) => void runs.push(run),
    onLog: ({ text }) => void log.push(text),
  })
  const redis = connectIoredis(server.url)
  onTestFinished(async () => {
    await lambda.close()
    await Promise.all([redis.close(), proxy.close()])
    raw.disconnect()
    await server.stop()
  })
  const publisher = createPublisher({ stream: 'errands', redis })
  const rows = () => raw.xpending('errands', 'runner', '-', '+', 10_000).catch(() => []) as Promise<[string, string][]>
  return {
    server,
    proxy,
    raw,
    lambda,
    functions,
    runs,
    log,
    publish: async (...errands) =>
      void (await publisher.publishMany(errands.map((errand) => [Errand, errand] as const))),
    async diary() {
      const text = await readFile(diary, 'utf8').catch(() => '')
      return text.split('\n').flatMap((line) => (line ? [JSON.parse(line) as Note] : []))
    },
    async age() {
      for (const [id, owner] of await rows())
        await raw.xclaim('errands', 'runner', owner, 0, id, 'IDLE', 60_000, 'JUSTID')
    },
    pending: async () => (await rows()).length,
    async deadLetters() {
      const letters = await raw.xrange('{errands}:runner:dlq', '-', '+')
      return letters.map(([, flat]) =>
        Object.fromEntries(flat.flatMap((name, n) => (n % 2 ? [] : [[name, flat[n + 1]]]))),
      )
    },
  }
}
