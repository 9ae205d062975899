import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

const ROOT = join(import.meta.dirname, '../..')
const { dependencies, peerDependencies, devDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'))

/** What a project that uses the package can install. */
const PACKAGES = ['millrace', ...Object.keys({ ...dependencies, ...peerDependencies, ...devDependencies })]

function isOfOwnProject(specifier: string): boolean {
  if (specifier.startsWith('node:')) return true
  if (specifier.startsWith('.')) return /^\.\/[\w.-]+$/.test(specifier)
  return PACKAGES.some((name) => specifier === name || specifier.startsWith(`${name}/`))
}

function importsOf(text: string): string[] {
  return [...text.matchAll(/(?:\bfrom|\bimport|\bimport\() ?'([^']+)'/g)].map(([, specifier = '']) => specifier)
}

const systems = readdirSync(join(ROOT, 'functions')).filter((name) => !name.endsWith('.md'))
const FOLDERS = [
  ...systems.map((name) => ({ folder: `functions/${name}`, readme: 'functions/README.md' })),
  { folder: 'infra', readme: 'infra/README.md' },
]

describe.each(FOLDERS)('$folder', ({ folder, readme }) => {
  const files = readdirSync(join(ROOT, folder)).filter((name) => name !== 'README.md')

  it('imports what a project of its own has: its neighbours and packages', () => {
    const imports = files.flatMap((name) => importsOf(readFileSync(join(ROOT, folder, name), 'utf8')))

    expect(imports).not.toEqual([])
    expect(imports.filter((specifier) => !isOfOwnProject(specifier))).toEqual([])
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
    expect(readdirSync(join(ROOT, 'functions', system))).toEqual(
      expect.arrayContaining(['events.ts', 'consumer.ts', 'poller.ts', 'claimer.ts']),
    )
  })
})
