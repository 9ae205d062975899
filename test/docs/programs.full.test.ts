import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { promisify } from 'node:util'
import * as millrace from 'millrace'
import * as ioredis from 'millrace/ioredis'
import * as lambda from 'millrace/lambda'
import { expect, onTestFinished, test, vi } from 'vitest'

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')

const ENTRY_POINTS = { millrace, 'millrace/ioredis': ioredis, 'millrace/lambda': lambda }

/** Files of the reader's own that a page names, and what stands around its lines. */
const OF_THE_READER: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'flow-control.md': {
    'billing.ts': `
      import { defineEvent } from 'millrace'
      import * as z from 'zod/mini'
      export const Charge = defineEvent('Charge', { payload: z.object({}) })
      export const Mail = defineEvent('Mail', { payload: z.object({}) })
      export async function charge() {}
      export async function sendMail() {}`,
  },
  'ordering.md': {
    'orders.ts': `
      import { defineEvent } from 'millrace'
      import * as z from 'zod/mini'
      export { OrderPaid } from './events.ts'
      export const OrderShipped = defineEvent('OrderShipped', { payload: z.object({}) })
      export async function bookPayment() {}
      export async function bookShipment() {}`,
  },
}
const SURROUNDINGS = `
  import type { HandlerContext, BatchEvent } from 'millrace'
  export declare const context: HandlerContext
  export declare const mail: { send(message: { to: string; idempotencyKey: string }): Promise<void> }
  export declare const to: string
  export declare const url: string
  export declare const payload: { orderId: string; amount: string; currency: string }
  export declare function book(events: readonly BatchEvent[]): Promise<readonly BatchEvent[]>`

interface Program {
  readonly name: string
  readonly code: string
  /** Without a name of its own: to be put into a program. */
  readonly isLines: boolean
}

/** Programs of a page. */
function programsOf(page: string): Program[] {
  return [...page.matchAll(/```ts\n(.*?)```/gs)].map(([, code = ''], n) => {
    const [, name] = /^\/\/ (?:[\w-]+\/)*([\w.-]+\.ts)/.exec(code) ?? []
    return { name: name ?? `lines-${n}.ts`, code, isLines: name === undefined }
  })
}

const exportsOf = (code: string) =>
  [...code.matchAll(/^\s*export (?:declare )?(?:async )?(?:const|function) (\w+)/gm)].map(([, name = '']) => name)

/** The lines, below imports of what they name: the page's before the README's, and what the package exports. */
function asProgram(code: string, files: readonly Program[]): string {
  const sources: [module: string, names: readonly string[]][] = [
    ...files.map(({ name, code }): [string, string[]] => [`./${name}`, exportsOf(code)]),
    ...Object.entries(ENTRY_POINTS).map(([name, members]): [string, string[]] => [name, Object.keys(members)]),
    ['ioredis', ['Redis']],
  ]
  const known = new Set([...code.matchAll(/\bconst (\w+)/g)].map(([, name]) => name))
  for (const [, names = ''] of code.matchAll(/\bimport \{ (.*?) \}/g))
    for (const name of names.split(', ')) known.add(name)
  const imports: string[] = []
  for (const [module, names] of sources) {
    const used = names.filter((name) => !known.has(name) && new RegExp(`(?<![.\\w])${name}\\b(?!:)`).test(code))
    for (const name of used) known.add(name)
    if (used.length > 0) imports.push(`import { ${used.join(', ')} } from '${module}'`)
  }
  return `${imports.join('\n')}\n${code}\nexport {}\n`
}

/** Writes the programs of all pages, each page's in a folder with those of the README, which it may replace. @returns Paths of the page's own. */
async function writePrograms(folder: string): Promise<string[]> {
  const readme = programsOf(await readFile(join(root, 'README.md'), 'utf8'))
  const pages = (await readdir(join(root, 'docs'))).filter((name) => name.endsWith('.md'))
  const paths: string[] = []
  for (const page of pages) {
    const programs = programsOf(await readFile(join(root, 'docs', page), 'utf8'))
    const [lines = [], named = []] = [true, false].map((are) => programs.filter(({ isLines }) => isLines === are))
    const own = Object.entries(OF_THE_READER[page] ?? {}).map(([name, code]) => ({ name, code, isLines: false }))
    const files = [...named, ...own, ...readme, { name: 'surroundings.ts', code: SURROUNDINGS, isLines: false }]
    const place = join(folder, basename(page, '.md'))
    await mkdir(place)
    for (const { name, code } of files.toReversed()) await writeFile(join(place, name), code)
    for (const { name, code } of lines) await writeFile(join(place, name), asProgram(code, files))
    paths.push(...programs.map(({ name }) => join(place, name)))
  }
  return paths
}

test('every program of the docs compiles beside those of the README', async () => {
  await mkdir(join(root, '.readme'), { recursive: true })
  const folder = await mkdtemp(join(root, '.readme', 'docs-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const paths = await writePrograms(folder)
  const config = { extends: '../../tsconfig.json', include: ['**/*.ts'], compilerOptions: { noUnusedLocals: false } }
  await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config))

  const printed = await run(join(root, 'node_modules/.bin/tsc'), ['-p', folder]).catch((error) => error)

  expect(paths.length).toBeGreaterThan(30)
  expect(printed.stdout).toBe('')
  // nothing connects before it is used
  vi.stubEnv('REDIS_URL', 'redis://127.0.0.1')
  onTestFinished(() => void vi.unstubAllEnvs())
  for (const path of paths) if (/ = defineConsumer\(/.test(await readFile(path, 'utf8'))) await import(path)
})
