import { readdirSync, readFileSync } from 'node:fs'
import { join, normalize } from 'node:path'
import { describe, expect, it } from 'vitest'

const SRC = join(import.meta.dirname, '../../src')

/** Each may import those before it. `clock.ts` and `report.ts` are the root's own room, `index.ts` imports what it likes. */
const INWARD = ['errors', 'core', 'root', 'define', 'group', 'publish', 'run', 'policies', 'effects']

/** These stand outside: nobody imports them but who is named, and they import whatever is inside. */
const OUTSIDE: Readonly<Record<string, readonly string[]>> = {
  clients: ['cli'],
  observe: [],
  calls: ['cli'],
  operate: ['cli'],
  janitor: ['cli', 'deploy', 's3'],
  deploy: [],
  local: ['cli'],
  cli: [],
  testing: [],
  s3: [],
}

const ROOT = ['clock.ts', 'errors.ts', 'index.ts', 'report.ts']

interface Import {
  readonly from: string
  readonly to: string
}

/** Every relative import and export of a file, those of types and those within functions, too. */
function importsOf(file: string, text: string): Import[] {
  const specifiers = [...text.matchAll(/(?:\bfrom|\bimport|\bimport\()\s*'(\.[^']+)'/g)].map(
    ([, specifier]) => specifier,
  )
  return specifiers.map((specifier) => ({ from: file, to: normalize(join(file, '..', specifier as string)) }))
}

function roomOf(file: string): string {
  if (file === 'errors.ts' || file === 'index.ts') return file.replace('.ts', '')
  return file.includes('/') ? (file.split('/')[0] as string) : 'root'
}

function pointsInward({ from, to }: Import): boolean {
  const [room, other] = [roomOf(from), roomOf(to)]
  if (room === other || room === 'index') return true
  if (other in OUTSIDE) return OUTSIDE[other]?.includes(room) ?? false
  return INWARD.includes(other) && (room in OUTSIDE || INWARD.indexOf(other) < INWARD.indexOf(room))
}

function outwardImports(files: Readonly<Record<string, string>>): string[] {
  const all = Object.entries(files).flatMap(([file, text]) => importsOf(file, text))
  return all.filter((each) => !pointsInward(each)).map(({ from, to }) => `${from} imports ${to}`)
}

const names = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.ts'))
const files = Object.fromEntries(names.map((name) => [name, readFileSync(join(SRC, name), 'utf8')]))

describe('src', () => {
  it('has four files at its root, and every folder is a room', () => {
    const rooms = names.filter((name) => name.includes('/')).map(roomOf)

    expect(names.filter((name) => !name.includes('/')).toSorted()).toEqual(ROOT)
    expect(rooms.filter((room) => !INWARD.includes(room) && !(room in OUTSIDE))).toEqual([])
  })

  it('has no import that points outward', () => {
    expect(outwardImports(files)).toEqual([])
  })

  it.each<[what: string, file: string, statement: string, found: string]>([
    ['a value', 'core/keys.ts', "import { on } from '../define/route.ts'", 'define/route.ts'],
    ['a type', 'define/route.ts', "import type { Group } from '../group/group.ts'", 'group/group.ts'],
    ['an export', 'group/group.ts', "export * from '../run/run.ts'", 'run/run.ts'],
    ['several lines', 'run/run.ts', "import {\n  a,\n  b,\n} from '../policies/a.ts'", 'policies/a.ts'],
    ['a dynamic import', 'run/run.ts', "const { a } = await import('../clients/connect.ts')", 'clients/connect.ts'],
    ['the public surface', 'core/keys.ts', "import { on } from '../index.ts'", 'index.ts'],
    [
      'one outside room in another',
      'calls/invoke.ts',
      "import '../observe/powertools/index.ts'",
      'observe/powertools/index.ts',
    ],
  ])('would be caught with %s that points outward', (_what, file, statement, found) => {
    expect(outwardImports({ [file]: statement })).toEqual([`${file} imports ${found}`])
  })
})
