import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')

/** What the user of this test installs beside millrace; everything else has to come with one of them. */
const INSTALLED = [
  '@aws-lambda-powertools/logger',
  '@aws-lambda-powertools/metrics',
  '@aws-sdk/client-s3',
  '@middy/core',
  '@opentelemetry/api',
  '@standard-schema/spec',
  '@types/aws-lambda', // Powertools' types need it
  '@types/node',
  '@upstash/redis',
  'ioredis',
  'zod',
]

let project: string
let packed: PackedTarball
let unpacked: string

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), 'millrace-tarball-'))
  packed = await pack(project)
  unpacked = join(project, 'node_modules/millrace')
  await mkdir(unpacked, { recursive: true })
  await run('tar', ['-xzf', join(project, packed.filename), '-C', unpacked, '--strip-components=1'])
})

afterAll(() => rm(project, { recursive: true, force: true }))

describe('the tarball', () => {
  test('holds the built package and its documents, and nothing else', async () => {
    const files = await readdir(unpacked, { recursive: true, withFileTypes: true })
    const paths = files.filter((file) => file.isFile()).map((file) => join(file.parentPath, file.name))
    const unexpected = paths
      .map((path) => path.slice(unpacked.length + 1))
      .filter(
        (path) =>
          !/^(dist\/.+\.(js|d\.ts)(\.map)?|docs\/[\w-]+\.md|infra\/(redis-acl\.txt|bundle\.yml|no-debug\.cjs)|README\.md|LICENSE|CHANGELOG\.md|package\.json)$/.test(
            path,
          ),
      )

    expect(unexpected).toEqual([])
  })

  test('has what every link of its documents leads to', async () => {
    const documents = packed.files.map(({ path }) => path).filter((path) => path.endsWith('.md'))
    const links = (await Promise.all(documents.map(linksOf))).flat()
    const broken: string[] = []
    for (const { from, link, path, anchor } of links) {
      const isPacked = packed.files.some((file) => file.path === path)
      if (!isPacked || (anchor && !(await anchorsOf(path)).includes(anchor))) broken.push(`${from}: ${link}`)
    }

    expect(documents.length).toBeGreaterThan(20)
    expect(links.length).toBeGreaterThan(150)
    expect(broken).toEqual([])
  })

  test('has no trace of the Node.js release that the repository runs on', async () => {
    const traces = packed.files.filter(({ path }) =>
      /node-linux|\btools\/|node_modules|include\/node|\.h$|\.node$/.test(path),
    )

    expect(traces).toEqual([])
    expect(await readFile(join(unpacked, 'package.json'), 'utf8')).not.toContain('node-linux')
  })

  test('is small', () => {
    expect(packed.files.length).toBeGreaterThan(5)
    expect(packed.files.length).toBeLessThan(2_200)
    expect(packed.size).toBeLessThan(2_450_000)
    expect(packed.unpackedSize).toBeLessThan(8_600_000)
  })

  test('depends on @middy/core and @standard-schema/spec alone', async () => {
    const manifest = await readManifest(unpacked)

    expect(Object.keys(manifest.dependencies ?? {}).sort()).toEqual(['@middy/core', '@standard-schema/spec'])
    expect(manifest.optionalDependencies).toBeUndefined()
    expect(manifest.bundleDependencies).toBeUndefined()
  })

  test('runs no script on the machine that installs it', async () => {
    const { scripts = {} } = await readManifest(unpacked)

    expect(Object.keys(scripts).filter((name) => /^(pre|post)?(install|prepare)$/.test(name))).toEqual([])
  })

  test('has every file that its exports and its program name', async () => {
    const { exports = {}, bin = {} } = await readManifest(unpacked)
    const targets = [...Object.values(exports), bin].flatMap((target) =>
      typeof target === 'string' ? target : Object.values(target),
    )
    const missing = []
    for (const target of targets) {
      const isFile = await stat(join(unpacked, target)).then(
        (file) => file.isFile(),
        () => false,
      )
      if (!isFile) missing.push(target)
    }

    expect(missing).toEqual([])
  })
})

describe("a user's project", () => {
  beforeAll(async () => {
    await writeProject(project)
    await install(INSTALLED, project)
  })

  test('compiles against the tarball, strict and without skipLibCheck', async () => {
    const output = await run(join(root, 'node_modules/.bin/tsc'), ['-p', 'tsconfig.json'], { cwd: project }).then(
      ({ stdout }) => stdout,
      (error: { stdout: string }) => error.stdout,
    )

    expect(output).toBe('')
  })

  test.each([
    ['module', 'await import'],
    ['commonjs', 'require'],
  ])('loads every entry point of the tarball, as %s by %s', async (type, load) => {
    const program = `
      const names = ${JSON.stringify(ENTRY_POINTS)}
      for (const name of names) if (Object.keys(${load}(name)).length === 0) throw new Error(name + ' exports nothing')
      console.log(names.length)`
    const { stdout } = await run(process.execPath, [`--input-type=${type}`, '--eval', program], { cwd: project })

    expect(stdout.trim()).toBe(`${ENTRY_POINTS.length}`)
  })

  test('runs the program of the tarball', async () => {
    const { bin = {} } = await readManifest(unpacked)
    const { stdout } = await run(process.execPath, [join(unpacked, bin.millrace ?? ''), 'dev', '--help'], {
      cwd: project,
    })

    expect(stdout).toMatch(/^millrace dev \[/)
  })
})

const ENTRY_POINTS = [
  'millrace',
  'millrace/ioredis',
  'millrace/upstash',
  'millrace/connect',
  'millrace/opentelemetry',
  'millrace/powertools',
  'millrace/s3',
  'millrace/testing',
]

const MAIN = `
import * as connect from 'millrace/connect'
import * as ioredis from 'millrace/ioredis'
import * as millrace from 'millrace'
import * as opentelemetry from 'millrace/opentelemetry'
import * as powertools from 'millrace/powertools'
import * as s3 from 'millrace/s3'
import * as testing from 'millrace/testing'
import * as upstash from 'millrace/upstash'
import * as z from 'zod/mini'

export const OrderPaid = millrace.defineEvent('OrderPaid', { version: 1, payload: z.object({ orderId: z.string() }) })
export const entryPoints = [connect, ioredis, millrace, opentelemetry, powertools, s3, testing, upstash]
`

const COMPILER_OPTIONS = {
  target: 'es2024',
  lib: ['es2024'],
  module: 'nodenext',
  types: ['node'],
  strict: true,
  exactOptionalPropertyTypes: true,
  noUncheckedIndexedAccess: true,
  skipLibCheck: false,
  // What is linked is found where it is linked, not among everything that this repository has installed.
  preserveSymlinks: true,
  noEmit: true,
}

interface PackedTarball {
  readonly filename: string
  readonly files: readonly { readonly path: string }[]
  readonly size: number
  readonly unpackedSize: number
}

interface Manifest {
  readonly dependencies?: Record<string, string>
  readonly optionalDependencies?: Record<string, string>
  readonly bundleDependencies?: readonly string[]
  readonly exports?: Record<string, string | Record<string, string>>
  readonly bin?: Record<string, string>
  readonly scripts?: Record<string, string>
}

async function pack(destination: string): Promise<PackedTarball> {
  const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', destination], {
    cwd: root,
  })
  const [tarball] = Object.values(JSON.parse(stdout) as Record<string, PackedTarball>)
  if (tarball === undefined) throw new Error(`npm pack packed nothing: ${stdout}`)
  return tarball
}

/** A document of the tarball without its programs. */
const proseOf = async (path: string) => (await readFile(join(unpacked, path), 'utf8')).replace(/^```.*?^```/gms, '')

/** Its links within the tarball. */
async function linksOf(from: string) {
  const links = [...(await proseOf(from)).matchAll(/\]\((?!\w+:)([^)\s]+)\)/g)].map(([, link = '']) => link)
  return links.map((link) => {
    const [path = '', anchor] = link.split('#')
    return { from, link, path: path === '' ? from : join(dirname(from), path), anchor }
  })
}

/** What its headings may be linked by. */
async function anchorsOf(path: string): Promise<string[]> {
  const headings = [...(await proseOf(path)).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) => heading)
  return headings.map((heading) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

async function readManifest(folder: string): Promise<Manifest> {
  return JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as Manifest
}

async function writeProject(folder: string): Promise<void> {
  await writeFile(join(folder, 'package.json'), JSON.stringify({ private: true, type: 'module' }))
  await writeFile(
    join(folder, 'tsconfig.json'),
    JSON.stringify({ compilerOptions: COMPILER_OPTIONS, files: ['main.ts', 'common.cts'] }),
  )
  await writeFile(join(folder, 'main.ts'), MAIN)
  await writeFile(join(folder, 'common.cts'), MAIN)
}

/** Links the packages, and what they depend on, into the project, as npm would have installed them. */
async function install(names: readonly string[], folder: string): Promise<void> {
  const installed = new Set<string>()
  const queue = [...names]
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    if (installed.has(name)) continue
    installed.add(name)
    const source = join(root, 'node_modules', name)
    const target = join(folder, 'node_modules', name)
    await mkdir(dirname(target), { recursive: true })
    await symlink(source, target)
    queue.push(...Object.keys((await readManifest(source)).dependencies ?? {}))
  }
}
