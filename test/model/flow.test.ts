import fc from 'fast-check'
import { describe, it } from 'vitest'
import type { FlowCommand, FlowPlan, Loss } from './flow-model.ts'
import { playFlow } from './flow-model.ts'

// MILLRACE_MODEL_RUNS=20000 npx vitest run test/model/flow.test.ts    that many random plans a property
const RUNS = Number(process.env.MILLRACE_MODEL_RUNS ?? (process.env.MILLRACE_TIER === 'fast' ? 20 : 100))

const who = fc.nat(3)
const record = <Value>(members: { readonly [Name in keyof Value]: fc.Arbitrary<Value[Name]> }) =>
  fc.record(members, { noNullPrototype: true }) as fc.Arbitrary<Value>

const calm: readonly { readonly weight: number; readonly arbitrary: fc.Arbitrary<FlowCommand> }[] = [
  {
    weight: 3,
    arbitrary: record({
      do: fc.constant('publish' as const),
      keys: fc.array(fc.constantFrom('a', 'b'), { minLength: 1, maxLength: 6, size: 'max' }),
    }),
  },
  { weight: 4, arbitrary: record({ do: fc.constantFrom('poll' as const, 'claim' as const) }) },
  {
    weight: 6,
    arbitrary: record({
      do: fc.constant('pass' as const),
      ms: fc.constantFrom(1, 20, 100, 500, 2_000, 10_000, 70_000),
    }),
  },
  { weight: 2, arbitrary: record({ do: fc.constant('outage' as const), isOut: fc.boolean() }) },
]
const disturbing: typeof calm = [
  { weight: 2, arbitrary: record({ do: fc.constant('crash' as const), who }) },
  {
    weight: 3,
    arbitrary: record({
      do: fc.constant('lose' as const),
      who,
      what: fc.array(fc.constantFrom<Loss>('request', 'answer', 'late'), { minLength: 1, maxLength: 7, size: 'max' }),
    }),
  },
]

const setting = record<FlowPlan['setting']>({
  failures: fc.constantFrom(1, 2, 3),
  probeAfterMs: fc.constantFrom(100, 1_000, 30_000),
  rate: fc.constantFrom(undefined, { max: 1, perMs: 1_000 }, { max: 5, perMs: 1_000 }, { max: 3, perMs: 100 }),
  places: fc.constantFrom(undefined, 1, 2),
  concurrency: fc.constantFrom(1, 2, 4),
  handlerMs: fc.constantFrom(0, 30, 400, 4_000),
})

const plans = (commands: typeof calm): fc.Arbitrary<FlowPlan> =>
  record({ setting, commands: fc.array(fc.oneof(...commands), { maxLength: 40, size: 'max' }) })

describe('runs with a circuit breaker, a rate limit and places', () => {
  it.each([
    ['that nothing disturbs', [...calm]],
    ['with crashes and lost requests', [...calm, ...disturbing]],
  ])(
    '%s keep their limits, spend no more than an outage may, and leave nothing behind',
    { timeout: 60_000 + 600 * RUNS },
    (_title, commands) =>
      fc.assert(fc.asyncProperty(plans(commands), playFlow), {
        numRuns: RUNS,
        interruptAfterTimeLimit: 50_000 + 500 * RUNS,
        markInterruptAsFailure: true,
      }),
  )
})
