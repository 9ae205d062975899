import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import { createPublisher } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { afterAll, beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { SampleTaken } from '../../examples/monitoring/events.ts'
import { RegisterUser } from '../../examples/users/events.ts'
import { startPostgres } from '../../tools/postgres-server.ts'
import { millrace, type Run } from '../cli/millrace.ts'
import { SCHEMAS, type Template } from '../infra/osls.ts'
import { validateTemplate } from '../support/validate-template.ts'
import { migrate } from '../systems/outbox/rows.ts'

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')
const PATIENCE_MS = 300_000

/** The program finds redis-server in PATH; here it may be elsewhere. */
const PATH = [dirname(process.env.MILLRACE_REDIS_SERVER ?? ''), process.env.PATH].join(delimiter)

/** What npm sets for the scripts that it runs would make an install go to this repository. */
const ENVIRONMENT = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^npm_(?!config_(registry|cache|userconfig)$)|^INIT_CWD$/.test(name)),
)

/** A service under `millrace dev`. */
interface Copied {
  readonly redisUrl: string
  readonly run: Run
  invoke(functionName: string, event: object): Promise<unknown>
}

/** What waits for a run of a poller on its schedule. */
const SOON = { timeout: 30_000, interval: 50 }

/** How each system is seen to work: publishes something, and finds what became of it. */
const WORKS: Readonly<Record<string, (copied: Copied) => Promise<void>>> = {
  async accounts({ run, invoke }) {
    const ask = async (command: object) => {
      const { body } = (await invoke('accounts-dev-api', { body: JSON.stringify(command) })) as { body: string }
      return (JSON.parse(body) as { outcome: string }).outcome
    }
    for (const accountId of ['anna', 'bert'])
      expect(await ask({ type: 'open', accountId, requestId: 'open', owner: 'o' })).toBe('done')
    expect(await ask({ type: 'deposit', accountId: 'anna', requestId: 'first', cents: 100 })).toBe('done')
    const transfer = { type: 'transfer', accountId: 'anna', requestId: 'rent', to: 'bert', cents: 85 }
    expect([await ask(transfer), await ask(transfer)]).toEqual(['done', 'done'])
    await run.printed(/-poller: read \d+, acked \d+, .*batches/)
    const read = () => invoke('accounts-dev-api', { queryStringParameters: { accountId: 'bert' } })
    await expect.poll(read, { timeout: 20_000 }).toMatchObject({ body: expect.stringContaining('"cents":"85"') })
  },
  // a type that is configured while its poller listens
  async jobs({ run, invoke }) {
    const ask = (action: string, request = {}) => invoke('jobs-dev-api', { action, ...request })
    await run.printed(/-janitor: /)
    await ask('configure', { type: 'Slugify', input: { functionName: 'jobs-dev-job-slugify' } })
    await ask('submit', { type: 'Slugify', input: 'Hello, World', jobId: 'slug' })
    await ask('submit', { type: 'CountPrimes', input: { below: 10_000 }, jobId: 'primes', priority: 'high' })
    await ask('submit', {
      type: 'SendMail',
      input: { to: 'ada@example.com', text: '' },
      jobId: 'mail',
      priority: 'low',
    })
    const read = (jobId: string) => () => ask('read', { jobId })
    await expect.poll(read('slug'), SOON).toMatchObject({ state: 'done', result: { slug: 'hello-world' } })
    await expect.poll(read('primes'), SOON).toMatchObject({ state: 'done', progress: 100, result: { primes: 1229 } })
    // there is no mail service
    await expect.poll(read('mail'), SOON).toMatchObject({ state: 'retrying' })
    expect(await ask('cancel', { jobId: 'mail' })).toBe('canceled')
    expect(await ask('report')).toEqual([])
  },
  async monitoring({ redisUrl, run, invoke }) {
    const redis = connectIoredis(redisUrl)
    onTestFinished(() => redis.close())
    const [now, series] = [Date.now(), { source: 'web-1', metric: 'latency' }]
    // in one request, so that one run of the poller has them all
    await createPublisher({ stream: 'samples', redis }).publishMany(
      Array.from({ length: 11 }, (_, n) => [SampleTaken, { ...series, value: '600', at: now - n * 60_000 }] as const),
    )
    await run.printed(/-poller: read 11, acked 11, batches 1 \(\d+ ms/)
    await run.printed(/web-1 latency: FIRING, p99 over 5 minutes is 600, the limit 500/)
    await run.printed(/-alert: judged 1, notified 1 \(/)
    const queryStringParameters = { ...series, level: '1m', from: `${now - 900_000}`, to: `${now + 1}` }
    const { body } = (await invoke('monitoring-dev-query', { queryStringParameters })) as { body: string }
    const { points, total } = JSON.parse(body)
    expect(points).toHaveLength(11)
    expect(total).toMatchObject({ count: 11, sum: '6600.000000', min: 600, max: 600 })
  },

  async outbox({ redisUrl, run, invoke }) {
    const raw = new Redis(redisUrl)
    onTestFinished(() => raw.disconnect())
    const ask = async (command: object) => {
      const { body } = (await invoke('outbox-dev-api', { body: JSON.stringify(command) })) as { body: string }
      return (JSON.parse(body) as { outcome: string }).outcome
    }
    expect(await ask({ type: 'place', orderId: 'o-1', cents: 100 })).toBe('done')
    expect(await ask({ type: 'pay', orderId: 'o-1' })).toBe('done')
    await run.printed(/-relay: .*published [12]/)
    await expect.poll(() => raw.hgetall('{orders}:totals'), SOON).toEqual({ placed: '1', paid: '1', cents: '100' })
  },

  // its poller listens for a minute, and says what it did after that
  async users({ redisUrl, invoke }) {
    const raw = new Redis(redisUrl)
    const redis = connectIoredis(redisUrl)
    onTestFinished(() => {
      raw.disconnect()
      return redis.close()
    })
    const userId = randomUUID()
    const commands = createPublisher({ stream: '{users}:commands', redis })
    const { eventId } = await commands.publish(RegisterUser, { userId, email: 'Ada@Example.com', name: 'Ada' })
    await expect.poll(() => raw.get(`{users}:outcome:${eventId}`), SOON).toBe('{"state":"done","version":1}')
    await expect.poll(() => raw.hget(`{users}:profiles-v1:${userId}`, '1'), SOON).toContain('"email":"ada@example.com"')
    expect(await invoke('millrace-users-dev-switchProfiles', { to: 'profiles-v1' })).toBeNull()
  },
}

/** What a system needs beside Redis: variables of its functions, `NAME=value`. */
const BESIDE: Readonly<Record<string, () => Promise<string[]>>> = {
  async outbox() {
    const postgres = await startPostgres()
    vi.stubEnv('DATABASE_URL', postgres.url)
    onTestFinished(async () => {
      vi.unstubAllEnvs()
      await postgres.stop()
    })
    const { database } = await import('../../examples/outbox/database.ts')
    await migrate(database)
    await database.close()
    return [`DATABASE_URL=${postgres.url}`]
  },
}

/** Those that must hear of errors in any of their functions. */
const ALARMED = new Set(['monitoring', 'outbox'])

/** Functions whose own errors nobody would hear of. */
function withoutAlarm({ Resources }: Template): string[] {
  const alarms = Object.values(Resources).filter(({ Properties }) => Properties?.MetricName === 'Errors')
  const alarmed = new Set(alarms.map(({ Properties }) => Properties.Dimensions[0].Value.Ref))
  return Object.keys(Resources).filter((id) => Resources[id]?.Type === 'AWS::Lambda::Function' && !alarmed.has(id))
}

/** What `millrace dev` packaged, and runs. */
async function templatesIn(folder: string): Promise<Template[]> {
  const files = (await readdir(folder, { recursive: true })).filter((file) => file.endsWith('update-stack.json'))
  return Promise.all(files.map(async (file) => JSON.parse(await readFile(join(folder, file), 'utf8'))))
}

let packed: string
let tarball: string
beforeAll(async () => {
  packed = await mkdtemp(join(tmpdir(), 'millrace-packed-'))
  const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', packed], {
    cwd: root,
    env: ENVIRONMENT,
  })
  const [{ filename } = { filename: '' }] = Object.values(JSON.parse(stdout) as Record<string, { filename: string }>)
  tarball = join(packed, filename)
})
afterAll(() => rm(packed, { recursive: true, force: true }))

const examples = (await readdir(join(root, 'examples'))).filter((name) => !name.endsWith('.md'))

test.each(examples)(
  'examples/%s, copied elsewhere, installs against the tarball, packages, validates and runs',
  async (name) => {
    const folder = await mkdtemp(join(tmpdir(), `millrace-copied-${name}-`))
    onTestFinished(() => rm(folder, { recursive: true, force: true }))
    await cp(join(root, 'examples', name), folder, {
      recursive: true,
      filter: (path) => !/\/(node_modules|\.serverless|\.esbuild)$/.test(path),
    })
    const install = ['install', '--prefer-offline', '--no-audit', '--no-fund', tarball]
    await run('npm', install, { cwd: folder, env: ENVIRONMENT })

    const beside = (await BESIDE[name]?.()) ?? []
    const TMPDIR = await mkdtemp(join(tmpdir(), 'millrace-dev-'))
    onTestFinished(() => rm(TMPDIR, { recursive: true, force: true }))
    const dev = millrace(['dev', '--every', '1', ...beside.flatMap((variable) => ['--env', variable])], {
      cwd: folder,
      // with no credentials, and no home folder to take them from
      env: { PATH, TMPDIR, HOME: TMPDIR, SLS_SCHEMA_CACHE_BASE_DIR: SCHEMAS },
      program: join(folder, 'node_modules/.bin/millrace'),
    })
    await dev.printed(/Ready: /)
    const [, redisUrl = ''] = await dev.printed(/^ {2}Redis {3}(redis:.*)$/)
    const [, endpoint] = await dev.printed(/--endpoint-url (\S+)/)
    const invoke = async (functionName: string, event: object) => {
      const url = `${endpoint}/2015-03-31/functions/${functionName}/invocations`
      return (await fetch(url, { method: 'POST', body: JSON.stringify(event) })).json()
    }
    await WORKS[name]?.({ redisUrl, run: dev, invoke })

    const [template] = await templatesIn(TMPDIR)
    expect(template && validateTemplate(template)).toEqual([])
    if (ALARMED.has(name)) expect(template && withoutAlarm(template)).toEqual([])

    dev.interrupt()
    expect(await dev.exit).toBe(0)
    expect(dev.lines.filter((line) => line.includes(': failed: '))).toEqual([])
    expect((await readdir(TMPDIR)).filter((left) => left.startsWith('millrace-'))).toEqual([])
    expect(Object.keys(WORKS)).toContain(name)
  },
  PATIENCE_MS,
)
