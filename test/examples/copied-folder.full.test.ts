import { execFile } from 'node:child_process'
import { cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { millrace, type Run } from '../cli/millrace.ts'
import { SCHEMAS, type Template } from '../infra/osls.ts'
import { validateTemplate } from '../support/validate-template.ts'

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')
const PATIENCE_MS = 300_000

/** The program finds redis-server in PATH; here it may be elsewhere. */
const PATH = [dirname(process.env.MILLRACE_REDIS_SERVER ?? ''), process.env.PATH].join(delimiter)

/** What npm sets for the scripts that it runs would make an install go to this repository. */
const ENVIRONMENT = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^npm_(?!config_(registry|cache|userconfig)$)|^INIT_CWD$/.test(name)),
)

type Invoke = (functionName: string, event: object) => Promise<unknown>

/** Runs a program of the copied folder; what it printed. */
type RunProgram = (file: string) => Promise<string>

/** How each system is seen to work: publishes something, and finds what became of it. */
const WORKS: Readonly<Record<string, (runProgram: RunProgram, run: Run, invoke: Invoke) => Promise<void>>> = {
  async monitoring(runProgram, run, invoke) {
    const question = await runProgram('send.ts')
    await run.printed(/-poller: read 11, acked 11, batches 1 \(\d+ ms/)
    await run.printed(/web-1 latency: FIRING, p99 over 5 minutes is 600, the limit 500/)
    await run.printed(/-alert: judged 1, notified 1 \(/)
    const { body } = (await invoke('monitoring-dev-query', JSON.parse(question))) as { body: string }
    const { points, total } = JSON.parse(body)
    expect(points).toHaveLength(11)
    expect(total).toMatchObject({ count: 11, sum: '6600.000000', min: 600, max: 600 })
  },
}

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

    const TMPDIR = await mkdtemp(join(tmpdir(), 'millrace-dev-'))
    onTestFinished(() => rm(TMPDIR, { recursive: true, force: true }))
    const dev = millrace(['dev', '--every', '1'], {
      cwd: folder,
      // with no credentials, and no home folder to take them from
      env: { PATH, TMPDIR, HOME: TMPDIR, SLS_SCHEMA_CACHE_BASE_DIR: SCHEMAS },
      program: join(folder, 'node_modules/.bin/millrace'),
    })
    await dev.printed(/Ready: /)
    const [, redisUrl = ''] = await dev.printed(/^ {2}Redis {3}(redis:.*)$/)
    const [, endpoint] = await dev.printed(/--endpoint-url (\S+)/)
    const runProgram = async (file: string) => {
      const { stdout } = await run(process.execPath, [file], { cwd: folder, env: { PATH, REDIS_URL: redisUrl } })
      return stdout
    }
    await WORKS[name]?.(runProgram, dev, async (functionName, event) => {
      const url = `${endpoint}/2015-03-31/functions/${functionName}/invocations`
      return (await fetch(url, { method: 'POST', body: JSON.stringify(event) })).json()
    })

    const [template] = await templatesIn(TMPDIR)
    expect(template && validateTemplate(template)).toEqual([])
    expect(template && withoutAlarm(template)).toEqual([])

    dev.interrupt()
    expect(await dev.exit).toBe(0)
    expect(dev.lines.filter((line) => line.includes(': failed: '))).toEqual([])
    expect((await readdir(TMPDIR)).filter((left) => left.startsWith('millrace-'))).toEqual([])
    expect(Object.keys(WORKS)).toContain(name)
  },
  PATIENCE_MS,
)
