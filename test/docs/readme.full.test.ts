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
