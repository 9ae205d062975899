import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { playSeeds } from './order/play.ts'
import { RULES } from './order/rules.ts'

// A world without one of the rules by which order is kept finds something. Where a rule has no seeds, a test of test/group/ordered-rules.full.test.ts or its neighbours is what finds it.
const PROGRAM = new URL('./order/without.ts', import.meta.url).pathname

const shown = Object.entries(RULES).flatMap(([name, { what, seeds }]) =>
  Object.entries(seeds ?? {}).map(([where, [from, to]]) => ({ name, what, where, from, to })),
)

test.each(shown)('$what: $name, $where', { timeout: 240_000 }, async ({ name, where, from, to }) => {
  const child = spawn('node', [PROGRAM, name, `${from}`, `${to}`, where], { stdio: ['ignore', 'pipe', 'pipe'] })
  const [out, errors] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])

  expect(errors).toBe('')
  expect(JSON.parse(out)).toHaveLength(1)
})

test('with all rules these seeds find nothing', { timeout: 240_000 }, async () => {
  const first = new Map(shown.filter(({ where }) => where === 'memory').map(({ from, to }) => [from, to]))
  for (const [from, to] of first) expect(await playSeeds({ from, to: Math.min(to, from + 20), where: 'memory' })).toEqual([])
})
