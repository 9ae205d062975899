import type { StandardSchemaV1 } from '@standard-schema/spec'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Clock } from '../../src/clock.ts'
import { createTimeBudget } from '../../src/core/budget.ts'
import { encodeEnvelope } from '../../src/core/codec.ts'
import { zeroSettleCounts } from '../../src/core/counts.ts'
import type { BatchHandler } from '../../src/define/batch-handler.ts'
import type { Consumer } from '../../src/define/consumer.ts'
import { defineConsumer, on } from '../../src/define/consumer.ts'
import type { Event } from '../../src/define/event.ts'
import { defineEvent } from '../../src/define/event.ts'
import type { EventHandler } from '../../src/define/handler.ts'
import { onBatch } from '../../src/define/on-batch.ts'
import { NonRetryableError, UnavailableError } from '../../src/errors.ts'
import type { Group } from '../../src/group/group.ts'
import { CallPool } from '../../src/run/call-pool.ts'
import { Job } from '../../src/run/job.ts'
import { Run } from '../../src/run/run.ts'
import { RunReport } from '../../src/run/run-report.ts'
import { createVirtualClock } from '../../src/testing/virtual-clock.ts'

const HANDLER_MS = 1_000
const RESERVE_MS = 500
const ENDINGS = ['returns', 'resolves', 'throws', 'rejects', 'fatal', 'unavailable', 'hangs'] as const
const TIMEOUTS = [undefined, 300, 2_000] as const
const TYPES = ['Plain', 'Checked', 'Batched', 'CheckedBatched', 'Lingering'] as const

/** An entry: what its schema says and when, and what its handler does and when. Of a batch, the first event's. */
interface Plan {
  readonly type: (typeof TYPES)[number]
  readonly isValid: boolean
  readonly checkMs: number
  readonly ending: (typeof ENDINGS)[number]
  readonly handlerMs: number
}

const plan = fc.record<Plan>({
  type: fc.constantFrom(...TYPES),
  isValid: fc.boolean().map((bad) => !bad),
  checkMs: fc.constantFrom(0, 1, 30, 700, 5_000),
  ending: fc.constantFrom(...ENDINGS),
  handlerMs: fc.constantFrom(0, 1, 40, 999, 1_000),
})

const scene = fc.record({
  reads: fc.array(fc.record({ afterMs: fc.constantFrom(0, 10, 600), plans: fc.array(plan, { maxLength: 9 }) }), {
    minLength: 1,
    maxLength: 3,
  }),
  concurrency: fc.integer({ min: 1, max: 4 }),
  /** A route's own `concurrency`, where it has one; no more than the consumer's. */
  limits: fc.array(fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined }), {
    minLength: TYPES.length,
    maxLength: TYPES.length,
  }),
  /** A route's own `handlerTimeoutMs`, where it has one. */
  timeouts: fc.array(fc.constantFrom(...TIMEOUTS), { minLength: TYPES.length, maxLength: TYPES.length }),
  maxEvents: fc.integer({ min: 1, max: 4 }),
  windowMs: fc.constantFrom(50, 400, 3_000),
  mayLinger: fc.boolean(),
  remainingMs: fc.constantFrom(1_500, 1_600, 3_000, 30_000),
})

type Scene = typeof scene extends fc.Arbitrary<infer T> ? T : never

test('a pool gives each job one outcome, and releases none that could start in time', async () => {
  await fc.assert(fc.asyncProperty(scene, play), { numRuns: 1_500 })
}, 120_000)

async function play(given: Scene): Promise<void> {
  const stage = setTheStage(given)
  for (const [read, { afterMs, plans }] of given.reads.entries()) {
    await stage.clock.advance(afterMs)
    stage.add(read, plans)
  }
  await stage.clock.advance(60_000)

  const { jobs, pool } = stage
  expect(jobs.map(({ outcome }) => outcome?.kind)).not.toContain(undefined)
  expect([pool.open, pool.waiting, pool.isIdle, pool.isGathering]).toEqual([0, 0, true, false])
  expect(stage.faults).toEqual([])
}

/** A run with a pool, whose handlers and schemas do as planned; and who notes what must not be. */
function setTheStage({ concurrency, limits, timeouts, maxEvents, windowMs, mayLinger, remainingMs }: Scene) {
  const clock = createVirtualClock()
  const faults: string[] = []
  const plans = new Map<string, Plan>()
  const called = new Set<string>()
  const jobs: Job[] = []
  const deadline = clock.monotonic() + remainingMs
  let running = 0
  const runningOf = new Map<string, number>()
  const ownOf = (type: Plan['type']) => {
    const limit = limits[TYPES.indexOf(type)]
    const handlerTimeoutMs = timeouts[TYPES.indexOf(type)]
    return {
      ...(limit !== undefined && { concurrency: Math.min(limit, concurrency) }),
      ...(handlerTimeoutMs !== undefined && { handlerTimeoutMs }),
    }
  }

  const later = <T>(ms: number, value: () => T) =>
    new Promise<T>((resolve, reject) => {
      clock.after(ms, () => {
        try {
          resolve(value())
        } catch (error) {
          reject(error as Error)
        }
      })
    })
  const schema = (isAsync: boolean): StandardSchemaV1<{ id: string }, { id: string }> => ({
    '~standard': {
      version: 1,
      vendor: 'test',
      validate(value) {
        const { isValid, checkMs } = plans.get((value as { id: string }).id) as Plan
        const result = isValid ? { value: value as { id: string } } : { issues: [{ message: 'not valid' }] }
        return isAsync ? later(checkMs, () => result) : result
      },
    },
  })
  const fail = (error: Error) => {
    throw error
  }
  const end: Record<Plan['ending'], (handlerMs: number) => unknown> = {
    returns: () => {},
    resolves: (ms) => later(ms, () => {}),
    throws: () => fail(new Error('failed')),
    rejects: (ms) => later(ms, () => fail(new Error('failed'))),
    fatal: (ms) => later(ms, () => fail(new NonRetryableError('never'))),
    unavailable: (ms) => later(ms, () => fail(new UnavailableError('not now'))),
    hangs: () => new Promise(() => {}),
  }
  const handle = (ids: readonly string[], leftMs: number) => {
    for (const id of ids) {
      if (called.has(id)) faults.push(`${id} was called twice`)
      called.add(id)
    }
    const { type, ending, handlerMs } = plans.get(ids[0] as string) as Plan
    const ofType = (runningOf.get(type) ?? 0) + 1
    runningOf.set(type, ofType)
    const { concurrency: limit = concurrency, handlerTimeoutMs = HANDLER_MS } = ownOf(type)
    if (leftMs > handlerTimeoutMs) faults.push(`${type} has ${leftMs} ms`)
    if (clock.monotonic() + leftMs + RESERVE_MS > deadline) faults.push(`${type} starts with ${leftMs} ms, too late`)
    if (ofType > limit) faults.push(`${ofType} of ${type} run side by side`)
    if (++running > concurrency) faults.push(`${running} run side by side`)
    let isOver = false
    const over = () => {
      if (isOver) return
      isOver = true
      running--
      runningOf.set(type, (runningOf.get(type) ?? 0) - 1)
    }
    // its time is over at the latest then; a timer may be early by a millisecond
    clock.after(leftMs - 2, over)
    try {
      const returned = end[ending](handlerMs)
      if (returned instanceof Promise) return returned.finally(over)
      over()
      return returned
    } catch (error) {
      over()
      throw error
    }
  }
  const handleOne: EventHandler<Event & { payload: { id: string } }> = ({ payload }, context) =>
    handle([payload.id], context.getRemainingTimeInMillis())
  const handleBatch: BatchHandler<Event & { payload: { id: string } }> = async (events, context) => {
    if (events.length === 0 || events.length > maxEvents) faults.push(`a batch of ${events.length}`)
    const ids = events.map(({ payload }) => payload.id)
    await handle(ids, context.getRemainingTimeInMillis())
  }
  const event = (type: Plan['type'], isAsync: boolean) => defineEvent(type, { payload: schema(isAsync) })
  const consumer = defineConsumer({
    stream: 'orders',
    group: 'billing',
    concurrency,
    handlerTimeoutMs: HANDLER_MS,
    minIdleMs: 10_000,
    maxDeliveries: 2,
    routes: [
      on(event('Plain', false), handleOne, ownOf('Plain')),
      on(event('Checked', true), handleOne, ownOf('Checked')),
      onBatch(event('Batched', false), handleBatch, { maxEvents, ...ownOf('Batched') }),
      onBatch(event('CheckedBatched', true), handleBatch, { maxEvents, ...ownOf('CheckedBatched') }),
      onBatch(event('Lingering', false), handleBatch, {
        maxEvents,
        maxBatchingWindowMs: windowMs,
        ...ownOf('Lingering'),
      }),
    ],
  })
  const run = aRun(consumer, clock, remainingMs)
  const pool = new CallPool(clock, concurrency, mayLinger)
  return {
    clock,
    faults,
    jobs,
    pool,
    add(read: number, added: readonly Plan[]) {
      const more = added.map((one, n) => {
        const id = `${read + 1}-${n}`
        plans.set(id, one)
        return watched(aJob(run, id, one.type), run, faults)
      })
      jobs.push(...more)
      run.settler.take(more)
      pool.add(more)
    },
  }
}

function aJob(run: Run, id: string, type: string): Job {
  const payload = JSON.stringify({ id })
  const fields = encodeEnvelope({ type, payload, eventId: id })
  return new Job(run, { id, fields, deliveryCount: 1, returnTo: 'parked' }, 0)
}

/** A job that says when it gets a second outcome, or goes back though it could start. */
function watched(job: Job, run: Run, faults: string[]): Job {
  let outcome: Job['outcome']
  Object.defineProperty(job, 'outcome', {
    get: () => outcome,
    set(next: Job['outcome']) {
      if (outcome) faults.push(`${job.id} is ${outcome.kind}, and ${next?.kind} then`)
      if (
        next?.kind === 'release' &&
        run.time.mayStart(undefined, job.neededMs) &&
        !run.alwaysOn.unavailable.has(job.prepared?.route as never)
      )
        faults.push(`${job.id} was released while it could start`)
      outcome = next
    },
  })
  return job
}

function aRun(consumer: Consumer, clock: Clock, remainingMs: number): Run {
  const settled = {
    counts: zeroSettleCounts(),
    failures: [],
    refusals: [],
    letters: [],
    refusedLetters: [],
    leaseLost: false,
  }
  const group = { settle: async () => settled, renew: async () => ({ lost: 0, leaseLost: false }) }
  const invocation = { action: 'poll', consumers: [], context: {} } as const
  const budget = createTimeBudget({
    now: clock.monotonic(),
    remainingMs,
    maxRunMs: Infinity,
    handlerTimeoutMs: consumer.routeBounds.longestTimeoutMs,
    reserveMs: RESERVE_MS,
  })
  return new Run({
    action: 'poll',
    consumer,
    group: group as unknown as Group,
    slot: { consumerName: 'poller-0', token: 't', leaseMs: 60_000 },
    budget,
    clock,
    signal: undefined,
    report: new RunReport(consumer, clock, invocation, undefined),
    random: () => 0.5,
    lambda: undefined,
    extras: undefined,
    further: undefined,
    claimerWake: undefined,
    promote: undefined,
    lingerMs: 0,
    invocation,
    observers: undefined,
  })
}
