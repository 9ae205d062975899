import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')
const { dependencies, peerDependencies, devDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))

/** What a project that uses the package can install. */
const PACKAGES = ['millrace', ...Object.keys({ ...dependencies, ...peerDependencies, ...devDependencies })]

/** What a folder may import: its neighbours, and packages; systems of the shop also what they share. An example has the packages that it declares itself. */
function mayImport(folder: string): (specifier: string) => boolean {
  const isExample = folder.startsWith('examples/')
  const packages = isExample ? declaredBy(folder) : PACKAGES
  const own = isExample ? /^\.\/[\w.-]+$/ : /^(\.|\.\.\/(events|shared))\/[\w.-]+$/
  return (specifier) =>
    specifier.startsWith('node:') ||
    own.test(specifier) ||
    packages.some((name) => specifier === name || specifier.startsWith(`${name}/`))
}

function declaredBy(folder: string): string[] {
  const { dependencies, devDependencies } = JSON.parse(readFileSync(join(ROOT, folder, 'package.json'), 'utf8'))
  return Object.keys({ ...dependencies, ...devDependencies })
}

function importsOf(text: string): string[] {
  return [...text.matchAll(/(?:\bfrom|\bimport|\bimport\() ?'([^']+)'/g)].map(([, specifier = '']) => specifier)
}

/** Without what tools leave behind. */
function filesOf(folder: string): string[] {
  return readdirSync(join(ROOT, folder)).filter((name) => !/^(README\.md|node_modules|\..*)$/.test(name))
}

const SHARED = ['events', 'shared']
const folders = readdirSync(join(ROOT, 'functions')).filter((name) => !name.endsWith('.md'))
const systems = folders.filter((name) => !SHARED.includes(name))
const examples = readdirSync(join(ROOT, 'examples')).filter((name) => !name.endsWith('.md'))

const readmeOf = (folder: string) =>
  existsSync(join(ROOT, folder, 'README.md')) ? `${folder}/README.md` : 'functions/README.md'

const FOLDERS = [
  ...folders.map((name) => ({ folder: `functions/${name}`, readme: readmeOf(`functions/${name}`) })),
  { folder: 'infra', readme: 'infra/README.md' },
  ...examples.map((name) => ({ folder: `examples/${name}`, readme: `examples/${name}/README.md` })),
]

describe.each(FOLDERS)('$folder', ({ folder, readme }) => {
  const files = filesOf(folder)

  it('imports what a project of its own has: its neighbours and packages', () => {
    const sources = files.filter((name) => /\.[cm]?[jt]s$/.test(name))
    const imports = sources.flatMap((name) => importsOf(readFileSync(join(ROOT, folder, name), 'utf8')))

    expect(imports).not.toEqual([])
    expect(imports.filter((specifier) => !mayImport(folder)(specifier))).toEqual([])
  })

  it('has a README with what each file is for', () => {
    const named = readFileSync(join(ROOT, readme), 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('| `'))
    const inTable = named.flatMap((line) =>
      [...(line.split(' | ')[0] ?? '').matchAll(/`([^`]+)`/g)].map(([, name]) => name),
    )

    expect(files.filter((name) => !inTable.includes(name))).toEqual([])
  })
})

describe.each(systems)('functions/%s', (system) => {
  it('has the files that every system has', () => {
    const files = readdirSync(join(ROOT, 'functions', system))

    expect(files).toEqual(expect.arrayContaining(['poller.ts', 'claimer.ts']))
    expect(files.some((name) => /^consumers?\.ts$/.test(name))).toBe(true)
  })
})

const SYSTEMS = [...systems.map((name) => `functions/${name}`), ...examples.map((name) => `examples/${name}`)]

/** The examples have a client of their own, also of a cluster, which takes thirty lines of each; webhooks pauses a merchant by itself, and checks what is written to its table. */
const LINES: Readonly<Record<string, number>> = {
  'examples/accounts': 560,
  'examples/users': 560,
  'functions/webhooks': 560,
}

describe.each(SYSTEMS)('%s', (system) => {
  it('fits on a desk: at most 12 files and 500 lines, its README apart', () => {
    const files = filesOf(system)
    const lines = files.reduce(
      (sum, name) =>
        sum +
        readFileSync(join(ROOT, system, name), 'utf8')
          .trimEnd()
          .split('\n').length,
      0,
    )

    expect(files.length).toBeLessThanOrEqual(12)
    expect(lines).toBeLessThanOrEqual(LINES[system] ?? 500)
  })

  it('has a README of one page, which examples/README.md lists', () => {
    if (system === 'functions/orders') return
    expect(
      readFileSync(join(ROOT, system, 'README.md'), 'utf8')
        .trimEnd()
        .split('\n').length,
    ).toBeLessThanOrEqual(80)
    expect(readFileSync(join(ROOT, 'examples/README.md'), 'utf8')).toContain(`](../${system}/README.md)`)
  })
})
