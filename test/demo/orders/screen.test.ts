import { expect, test } from 'vitest'
import type { Picture } from '../../../demo/orders/screen.ts'
import { createScreen } from '../../../demo/orders/screen.ts'
import { Tally } from '../../../demo/orders/tally.ts'

test('createScreen() refreshes a table in place on a terminal', () => {
  const { stdout, writes } = anOutput({ isTTY: true, columns: 80 })
  const screen = createScreen(stdout)
  screen.show(aPicture(0))
  screen.last(aPicture(200))
  const [first = '', second = ''] = writes

  expect(first.startsWith('\x1b[K\n')).toBe(true)
  expect(second.startsWith(`\x1b[${first.split('\n').length - 1}A`)).toBe(true)
  expect(second).toMatch(/publishing +0\.2 s/)
  expect(second).toMatch(/pending\S* 4 .*oldest pending\S* 1\.5 s/)
})

test.each([
  ['without a terminal', { isTTY: false, columns: 80 }],
  ['on one too narrow for the table', { isTTY: true, columns: 79 }],
])('createScreen() prints a line a second %s', (_, terminal) => {
  const { stdout, writes } = anOutput(terminal)
  const screen = createScreen(stdout)
  for (let elapsedMs = 0; elapsedMs < 2_000; elapsedMs += 200) screen.show(aPicture(elapsedMs))
  screen.last(aPicture(2_000))

  expect(
    writes
      .join('')
      .match(/^ +\d\.\d s/gm)
      ?.map((text) => text.trim()),
  ).toEqual(['0.0 s', '1.0 s', '2.0 s'])
  expect(new Set(writes.map((line) => line.length)).size).toBe(1)
})

function aPicture(elapsedMs: number): Picture {
  const gauges = { length: 9, backlog: 2, pending: 4, oldestPendingMs: 1_500 }
  return { phase: 'publishing', elapsedMs, tally: new Tally(), gauges }
}

function anOutput(terminal: { isTTY: boolean; columns: number }) {
  const writes: string[] = []
  const stdout = { ...terminal, write: (text: string) => writes.push(text) } as unknown as NodeJS.WriteStream
  return { stdout, writes }
}
