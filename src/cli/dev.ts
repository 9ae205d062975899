import { once } from 'node:events'
import { mkdir, mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type LocalLambda, startLocalLambda } from '../local/local-lambda.ts'
import { startPrivateRedis } from '../local/private-redis.ts'
import { type UnpackedService, unpackService } from '../local/service.ts'
import { DEV_USAGE, type DevOptions, readDevOptions } from './dev-options.ts'
import { functionOutputLine, invocationLine } from './invocation-line.ts'
import { packageService } from './package-service.ts'
import { printableName } from './text/printable.ts'
import { watchSources } from './watch.ts'

/** How long what runs at a Ctrl-C may go on; then it is killed. */
const GRACE_MS = 3_000

/**
 * `millrace dev`: runs a service's functions until the signal.
 *
 * @throws {UsageError} The options are wrong.
 * @throws {Error} The service cannot be packaged, or there is no Redis.
 */
export async function run(args: readonly string[], signal: AbortSignal): Promise<void> {
  const options = readDevOptions(args)
  if (options.help) return console.log(DEV_USAGE)
  const cleanups: Cleanup[] = []
  try {
    await runService(options, signal, cleanups)
  } catch (error) {
    // what a Ctrl-C interrupts is no failure
    if (!signal.aborted) throw error
  } finally {
    for (const cleanUp of cleanups.reverse()) await cleanUp()
  }
}

/** Undoes one thing; what was done last is undone first. */
type Cleanup = () => Promise<void> | void

async function runService(options: DevOptions, signal: AbortSignal, cleanups: Cleanup[]): Promise<void> {
  const work = await realpath(await mkdtemp(join(tmpdir(), 'millrace-dev-')))
  cleanups.push(() => rm(work, { recursive: true, force: true }))
  const redisUrl = options.redis ?? (await privateRedis(cleanups))
  const environment = { REDIS_URL: redisUrl, ...options.environment }
  const build = createBuild({ ...options, environment }, work, signal)

  const service = await build()
  const lambda = await startLocalLambda({
    ...service,
    onInvocation: (report) => say(invocationLine(report, { isStopping: signal.aborted })),
    onLog(line) {
      const text = functionOutputLine(line)
      if (text !== undefined) console.log(text)
    },
  })
  cleanups.push(() => lambda.close())
  const folder = options.template === undefined ? process.cwd() : dirname(resolve(options.template))
  const onChange = oneAtATime((path) => redeploy(path, build, lambda, signal))
  cleanups.push(await watchSources(folder, (path) => void onChange(path)))
  tellReady(service, lambda.url, redisUrl)
  // nobody wants to wait a minute for the first sign of life
  lambda.tick()
  if (!signal.aborted) await once(signal, 'abort')
  say('Stopping')
  lambda.schedule([])
  await Promise.race([lambda.idle(), sleep(GRACE_MS, undefined, { ref: false })])
}

async function privateRedis(cleanups: Cleanup[]): Promise<string> {
  const redis = await startPrivateRedis()
  cleanups.push(() => redis.stop())
  return redis.url
}

/** Makes a function that packages and unpacks the service, each time in a folder of its own: old versions go on meanwhile. */
function createBuild(options: DevOptions, work: string, signal: AbortSignal): () => Promise<UnpackedService> {
  const project = process.cwd()
  let builds = 0
  return async () => {
    const folder = join(work, `build-${++builds}`)
    await mkdir(folder)
    const template =
      options.template ??
      (await packageService({ project, stage: options.stage, folder: join(folder, 'package'), signal }))
    const service = await unpackService(template, { folder, project, environment: options.environment })
    for (const sentence of service.skipped) say(sentence)
    if (service.functions.length === 0)
      throw new Error('Cannot run the service: its template has no function for Node.js')
    const { everySeconds } = options
    if (everySeconds === undefined) return service
    return {
      ...service,
      schedules: service.schedules.map((schedule) => ({ ...schedule, everyMs: everySeconds * 1_000 })),
    }
  }
}

async function redeploy(
  path: string,
  build: () => Promise<UnpackedService>,
  lambda: LocalLambda,
  signal: AbortSignal,
): Promise<void> {
  say(`A source changed, ${printableName(path)}: deploying again`)
  try {
    const { functions, schedules } = await build()
    await lambda.deploy(...functions)
    lambda.schedule(schedules)
    lambda.tick()
    say('Deployed; invocations of the old version go on to their end')
  } catch (error) {
    if (!signal.aborted) say(`${(error as Error).message}\nThe version before it goes on`)
  }
}

/** Runs the work when called, once more, for the last call, if it was called meanwhile, never twice at a time. */
function oneAtATime(work: (path: string) => Promise<void>): (path: string) => Promise<void> {
  let isUnderway = false
  let wanted: string | undefined
  return async (path) => {
    wanted = path
    if (isUnderway) return
    isUnderway = true
    while (wanted !== undefined) {
      const next = wanted
      wanted = undefined
      await work(next)
    }
    isUnderway = false
  }
}

function tellReady({ functions, schedules }: UnpackedService, url: string, redisUrl: string): void {
  const [first] = functions
  say(`Ready: ${functions.map(({ name }) => name).join(', ')}`)
  console.log(`  Redis   ${withoutPassword(redisUrl)}`)
  for (const { functionName, expression, everyMs, enabled } of schedules) {
    const when = enabled === false ? 'disabled' : everyMs === undefined ? expression : `every ${everyMs / 1_000} s`
    console.log(`  Wakes   ${functionName}, ${when}`)
  }
  console.log(
    `  Invoke  aws lambda invoke --endpoint-url ${url} --region us-east-1 --no-sign-request --function-name ${first?.name} /dev/stdout`,
  )
}

function withoutPassword(text: string): string {
  const url = new URL(text)
  if (url.password !== '') url.password = '***'
  return url.href
}

function say(text: string): void {
  console.log(`${new Date().toTimeString().slice(0, 8)} ${text}`)
}
