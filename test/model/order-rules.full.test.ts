import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { RULES } from './order/rules.ts'

// A world without one of the rules by which order is kept finds something; with all of them order.full.test.ts finds nothing.
const PROGRAM = new URL('./order/without.ts', import.meta.url).pathname
const BESIDE = [
  '../group/ordered-group.full',
  '../group/ordered-rules.full',
  '../scenarios/ordered-edges.full',
  '../scenarios/ordered.full',
]

const shown = Object.entries(RULES).flatMap(([name, { what, seeds }]) =>
  Object.entries(seeds ?? {}).map(([where, most]) => ({ name, what, where, most })),
)

test.each(shown)('$what: $name, $where', { timeout: 300_000 }, async ({ name, where, most }) => {
  const child = spawn('node', [PROGRAM, name, '1', `${most + 1}`, where], { stdio: ['ignore', 'pipe', 'pipe'] })
  const [out, errors] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])

  expect(errors).toBe('')
  expect(JSON.parse(out)).toHaveLength(1)
})

test('each rule is looked after by the model, or by a test beside it', () => {
  const tests = BESIDE.map((file) => readFileSync(new URL(`${file}.test.ts`, import.meta.url), 'utf8')).join('')
  const alone = Object.entries(RULES).filter(([, one]) => !one.seeds && !(one.test && tests.includes(`'${one.test}'`)))
  expect(alone.map(([name]) => name)).toEqual([])
})
