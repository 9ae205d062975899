import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

const root = join(import.meta.dirname, '../..')
const read = (path: string) => readFileSync(join(root, path), 'utf8')

const ROW = /^\| (\d+) \| (.+?) \| `(.+?)` \| `(.+?)` \|$/gm
const rows = [...read('CONTRIBUTING.md').matchAll(ROW)].map(([, number = '', promise = '', fast = '', full = '']) => ({
  number: Number(number),
  promise,
  fast,
  full,
}))

/** Whether a scenario says in a title that it is about that promise. */
function isAbout(file: string, number: number): boolean {
  const titles = [...read(`test/${file}`).matchAll(/promises? ([\d, and]+)/g)]
  return titles.some(([, numbers = '']) => (numbers.match(/\d+/g) ?? []).map(Number).includes(number))
}

describe('the map of promises to tests in CONTRIBUTING', () => {
  it('has the promises of the README', () => {
    const promises = [...read('README.md').matchAll(/^\| (\d+) \| ([^|]+) \|$/gm)]

    expect(promises).toHaveLength(22)
    expect(rows.map(({ number, promise }) => [String(number), promise])).toEqual(promises.map(([, ...row]) => row))
  })

  it.each(rows)('names a fast file and a full file that exist: $promise', ({ number, fast, full }) => {
    const scenarios = [fast, full].filter((file) => file.startsWith('scenarios/'))

    expect([fast, full].filter((file) => !existsSync(join(root, 'test', file)))).toEqual([])
    expect([fast.endsWith('.full.test.ts'), full.endsWith('.full.test.ts')]).toEqual([false, true])
    expect(scenarios.filter((file) => !isAbout(file, number))).toEqual([])
  })
})
