import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import * as millrace from 'millrace'
import { defineConsumer, defineEvent, on } from 'millrace'
import * as janitor from 'millrace/janitor'
import { describe, expect, it, onTestFinished } from 'vitest'
import * as z from 'zod/mini'
import { startRedisServer } from '../../tools/redis-server.ts'

const run = promisify(execFile)
const root = new URL('../../', import.meta.url).pathname
const readme = await readFile(join(root, 'README.md'), 'utf8')

interface Program {
  readonly name: string
  readonly code: string
  /** What it prints, if the README says so. */
  readonly output: string | undefined
}

const programs = [...readme.matchAll(/```ts\n(\/\/ ([\w-]+\.ts)[^\n]*\n.*?)```\n(?:\n```text\n(.*?)```)?/gs)].map(
  ([, code = '', name = '', output]): Program => ({ name, code, output }),
)

/** The README's files, side by side in a folder within the package, so that they import it by its name. */
async function writePrograms(): Promise<string> {
  await mkdir(join(root, '.readme'), { recursive: true })
  const folder = await mkdtemp(join(root, '.readme', 'programs-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  for (const { name, code } of programs) await writeFile(join(folder, name), code)
  return folder
}

/** CommonJS has no `await` at its top. */
async function wrapAwaits(file: string): Promise<void> {
  const lines = (await readFile(file, 'utf8')).split('\n')
  const imports = lines.filter((line) => line.startsWith('import '))
  const others = lines.filter((line) => !line.startsWith('import '))
  await writeFile(file, [...imports, 'void (async () => {', ...others, '})()'].join('\n'))
}

/** The rows of a page's table of promises: number, promise, and what else it says. */
async function guarantees(page: string): Promise<string[][]> {
  const text = await readFile(join(root, page), 'utf8')
  const [, section = ''] = /\n?#+ Guarantees.*?\n(.*?)(?=\n## |$)/s.exec(text) ?? []
  return [...section.matchAll(/^\| (\d+ \| .*) \|$/gm)].map(([, row = '']) => row.split(' | '))
}

describe('README', () => {
  it('its programs compile in strict mode', async () => {
    const folder = await writePrograms()
    const config = { extends: '../../tsconfig.json', include: ['*.ts'], compilerOptions: { noUnusedLocals: true } }
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config))

    await expect(
      run(join(root, 'node_modules/.bin/tsc'), ['-p', folder]).catch((error) => error.stdout),
    ).resolves.toMatchObject({ stdout: '' })
  })

  it('its programs print what it says', async () => {
    const folder = await writePrograms()
    const server = await startRedisServer()
    onTestFinished(() => server.stop())
    const printing = programs.filter(({ output }) => output !== undefined)

    const outputs = await Promise.all(
      printing.map(({ name }) => run('node', [join(folder, name)], { env: { ...process.env, REDIS_URL: server.url } })),
    )

    expect(printing.map(({ name }) => name)).toEqual(['try.ts', 'in-memory.ts'])
    expect(outputs.map(({ stdout }) => stdout)).toEqual(printing.map(({ output }) => output))
  })

  it.each(['module', 'commonjs'])('its programs run once they are compiled as it says, as %s', async (type) => {
    const server = await startRedisServer()
    onTestFinished(() => server.stop())
    const [, settings = ''] = /to compile them, .*? and set (.*?)\. /s.exec(readme) ?? []
    const named = [...settings.matchAll(/`("\w+": [^`]+)`/g)].map(([, setting]) => setting)
    const compilerOptions = { ...JSON.parse(`{${named.join()}}`), rootDir: '.', outDir: 'built' }
    const folder = await writePrograms()
    await writeFile(join(folder, 'package.json'), JSON.stringify({ type }))
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, files: ['try.ts'] }))
    if (type === 'commonjs') await wrapAwaits(join(folder, 'try.ts'))

    await run(join(root, 'node_modules/.bin/tsc'), ['-p', folder])
    const env = { ...process.env, REDIS_URL: server.url }
    const { stdout } = await run('node', [join(folder, 'built/try.js')], { env })

    expect(named).toHaveLength(3)
    expect(stdout).toBe(programs.find(({ name }) => name === 'try.ts')?.output)
    expect((await readFile(join(folder, 'built/poller.js'), 'utf8')).includes('require("millrace")')).toBe(
      type !== 'module',
    )
  })

  it('its commands bundle a poller that loads, which an ES module without the banner does not', async () => {
    const folder = await writePrograms()
    await writeFile(join(folder, 'package.json'), '{"type":"module"}')
    const commands = [...readme.matchAll(/\bnpx (esbuild poller\.ts (?:\\\n|[^`\n])*)/g)].map(
      ([, command = '']) => command,
    )
    const load = async (command: string) => {
      const env = {
        ...process.env,
        REDIS_URL: 'redis://127.0.0.1',
        PATH: `${join(root, 'node_modules/.bin')}:${process.env.PATH}`,
      }
      await run('sh', ['-c', command], { cwd: folder, env })
      const file = /--outfile=(\S+)/.exec(command)?.[1] ?? ''
      const program = `console.log(typeof (await import('./${file}')).handler)`
      return (await run('node', ['--input-type=module', '--eval', program], { cwd: folder, env })).stdout.trim()
    }

    expect(commands).toHaveLength(2)
    for (const command of commands) await expect(load(command)).resolves.toBe('function')
    const bare = commands[1]?.replace(/\\\n.*/s, '') ?? ''
    await expect(load(bare)).rejects.toThrow('Dynamic require of "events" is not supported')
  })

  it('its table of errors names every class with its code', async () => {
    const files = [
      'src/errors.ts',
      'src/core/aggregate-errors.ts',
      'src/core/payload-errors.ts',
      'src/run/invocation-errors.ts',
      'src/janitor/janitor-failed-error.ts',
      'src/publish/backlog-full-error.ts',
    ]
    const source = (await Promise.all(files.map((path) => readFile(join(root, path), 'utf8')))).join('\n')
    const codes = [...source.matchAll(/^ {2}\| '(ERR_\w+)'$/gm)].map(([, code]) => code)
    const rows = [...readme.matchAll(/^\| `(ERR_\w+)` \| `(\w+)` \|/gm)].map(([, code, name]) => [code, name])

    expect(new Set(rows.map(([code]) => code))).toEqual(new Set(codes))
    for (const [code, name] of rows)
      expect(source).toMatch(new RegExp(`class ${name} extends \\w+Error {[^}]*readonly code = '${code}'`))
    expect(rows.filter(([, name]) => !((name as string) in { ...millrace, ...janitor }))).toEqual([])
  })

  it('its table of the report has every member of one', async () => {
    const [report, counts] = await Promise.all(
      ['src/report.ts', 'src/core/counts.ts'].map((path) => readFile(join(root, path), 'utf8')),
    )
    const members = (source: string, name: string) => {
      const [, body = ''] = new RegExp(`^export interface ${name}\\b.*?\\{\\n(.*?)^\\}`, 'ms').exec(source) ?? []
      return [...body.matchAll(/^ {2}(?:readonly )?(\w+\??):/gm)].map(([, member = '']) => member)
    }
    const [, section = ''] = readme.split('## The report\n')
    const rows = [...(section.split('\n## ')[0] ?? '').matchAll(/^\| (`.*?`) \| (.*) \|$/gm)]
    const named = rows.flatMap(([, names = '']) =>
      [...names.matchAll(/`(?:consumers\[n\]\.)?(\w+)`/g)].map(([, name]) => name),
    )
    const [, backlog = ''] = /`consumers\[n\]\.backlog` \|[^`]*`\{ (.*?) \}`/.exec(section) ?? []
    const all = [
      ...members(report as string, 'ConsumerReport'),
      ...members(report as string, 'Report'),
      ...members(counts as string, 'SettleCounts'),
    ]

    expect(new Set(named)).toEqual(new Set(all.map((name) => name.replace('?', ''))))
    expect(new Set(backlog.split(', '))).toEqual(new Set(members(report as string, 'Backlog')))
  })

  it('its promises are those of docs/guarantees.md', async () => {
    const [promises, explained] = [await guarantees('README.md'), await guarantees('docs/guarantees.md')]

    expect(promises).toEqual(explained.map((row) => row.slice(0, 2)))
    expect(promises.map(([number]) => Number(number))).toEqual(Array.from({ length: 22 }, (_, n) => n + 1))
  })

  it('docs/guarantees.md names a test for every promise, by a title that exists', async () => {
    const rows = await guarantees('docs/guarantees.md')
    const cited = rows.flatMap(([, , , noticed = '']) => [...noticed.matchAll(/`([\w-]+)`: "([^"]+)"/g)])
    const missing: string[] = []
    for (const [, file = '', title = ''] of cited) {
      const [path = ''] = ['', '.full']
        .map((tier) => join(root, `test/scenarios/${file}${tier}.test.ts`))
        .filter(existsSync)
      const source = await readFile(path, 'utf8')
      if (!source.includes(title)) missing.push(`${file}: ${title}`)
    }

    expect(missing).toEqual([])
    expect(rows.filter(([, , , noticed = '']) => !/`[\w/-]+`/.test(noticed))).toEqual([])
  })

  it('its table of consumer options names every option with its default', () => {
    const Event = defineEvent('Event', { payload: z.object({}) })
    const { settings } = defineConsumer({ stream: 'orders', group: 'billing', routes: [on(Event, () => {})] })
    const section = readme.split('## Consumer options')[1]?.split('\n## ')[0] ?? ''
    const rows = new Map(
      [...section.matchAll(/^\| `(\w+)` \|.*\| (.*) \|$/gm)].map(([, name = '', value = '']) => [name, value]),
    )
    const documented = (name: string) => rows.get(name)?.replace(/[`,']/g, '')

    expect(documented('backoff')?.split(' ').map(Number)).toEqual(Object.values(settings.backoff))
    for (const name of [
      'batchSize',
      'concurrency',
      'handlerTimeoutMs',
      'minIdleMs',
      'allowLongHandlers',
      'maxDeliveries',
      'maxPending',
    ] as const) {
      expect([name, documented(name)]).toEqual([name, String(settings[name])])
    }
    for (const name of [
      'maxEntryBytes',
      'unrouted',
      'expired',
      'mode',
      'reserveMs',
      'maxPollers',
      'startAt',
    ] as const) {
      expect([name, documented(name)]).toEqual([name, String(settings[name])])
    }
    expect([...rows.keys()].toSorted()).toEqual(
      [
        ...Object.keys(settings).filter((name) => name !== 'maxDeadLetters'),
        'deadLetters',
        'codec',
        'filter',
        'delays',
        'onDeadLetter',
        'use',
      ].toSorted(),
    )
  })
})
