import { readFile } from 'node:fs/promises'
import type { Connection, Consumer, ConsumerOptions, EventHandler, Observer, Report } from 'millrace'
import {
  defineConsumer,
  defineEvent,
  InvocationFailedError,
  idempotent,
  NonRetryableError,
  on,
  onBatch,
  poll,
  RedisConnectionError,
  RetryAfterError,
  UnavailableError,
} from 'millrace'
import { reportMetrics } from 'millrace/powertools'
import { connectMemory, createVirtualClock } from 'millrace/testing'
import { afterEach, describe, expect, it, vi } from 'vitest'
import * as z from 'zod/mini'
import { bothSides } from '../support/both-sides.ts'
import { claimOnce } from '../support/claim-once.ts'
import { captureOutput, readMetricLine } from '../support/metric-lines.ts'

const page = await readFile(new URL('../../docs/errors.md', import.meta.url), 'utf8')
const table = page
  .split('\n')
  .filter((line) => line.startsWith('| '))
  .slice(2)
  .map((line) => line.slice(2, -2).split(' | '))
  .map(([failure = '', , happens = '', report = '', metrics = '']) => ({
    failure,
    reason: /dead letter, `([\w-]+)`/.exec(happens)?.[1],
    report: quoted(report),
    metrics: quoted(metrics),
  }))

const payload = z.object({ n: z.number() })
const Paid = defineEvent('Paid', { version: 2, payload })
const Other = defineEvent('Other', { payload })

/** A stream in memory with one event, and a consumer of it. */
interface Given {
  readonly redis: ReturnType<typeof connectMemory>
  readonly clock: ReturnType<typeof createVirtualClock>
  readonly observe: Observer
  add(fields: Readonly<Record<string, string>>): Promise<void>
}

/** Makes a failure happen. @returns The report of the run that meets it. */
const FAILURES: Readonly<Record<string, (given: Given) => Promise<Report>>> = {
  malformed: (given) => after(given, { something: 'else' }),
  validation: (given) => after(given, { ...ENTRY, payload: '{"n":"secret"}' }),
  'unsupported version': (given) => after(given, { ...ENTRY, schemaVersion: '1' }),
  'newer version': (given) => after(given, { ...ENTRY, schemaVersion: '3' }),
  unrouted: (given) => after(given, { ...ENTRY, eventType: 'Unknown' }),
  'retryable dependency': throwing(() => new Error('down')),
  'retryable dependency, at a known time': throwing(() => new RetryAfterError(5_000)),
  'dependency without capacity': throwing(() => new UnavailableError('no capacity')),
  'out of time': (given) =>
    after(
      given,
      ENTRY,
      consumerOf(() => new Promise(() => {})),
    ),
  'permanent domain failure': throwing(() => new NonRetryableError('no such order')),
  'deliveries used up': (given) =>
    after(
      given,
      ENTRY,
      consumerOf(
        rejecting(() => new Error('down')),
        { maxDeliveries: 1 },
      ),
    ),
  async 'failure of a batch'(given) {
    const routes = [onBatch(Paid, () => Promise.reject(new NonRetryableError('one of them')), { bisectOnError: true })]
    await given.add(ENTRY)
    return after(
      given,
      ENTRY,
      consumerOf(() => {}, { routes }),
    )
  },
  async duplicate(given) {
    const consumer = consumerOf(() => {}, { use: [idempotent({ ttlMs: 3_600_000 })] })
    await given.add(ENTRY)
    await poll(consumer, { redis: given.redis, clock: given.clock })
    return after(given, ENTRY, consumer)
  },
  async poison(given) {
    const consumer = consumerOf(() => {}, { maxDeliveries: 1 })
    await given.add(ENTRY)
    const group = given.redis.group(consumer)
    const slot = await group.takeSlot('poller', 4, 1)
    await group.settleAndRead(slot as never, [], { count: 1, maxPending: 1 }) // and dies
    await new Promise<void>((resolve) => void given.clock.after(60_000, resolve))
    return claimOnce(consumer, { redis: given.redis, clock: given.clock, observe: given.observe })
  },
  async infrastructure(given) {
    const lost = async () => {
      throw new RedisConnectionError('no answer')
    }
    const redis: Connection = {
      ...given.redis,
      group: (...address) =>
        bothSides(given.redis.group(...address), (both) => ({
          settle: lost,
          settleAndRead: (slot, settlements, request) =>
            settlements.length > 0 ? lost() : both.settleAndRead(slot, settlements, request),
        })),
    }
    const error = await after({ ...given, redis: redis as Given['redis'] }, ENTRY).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(InvocationFailedError)
    expect(given.redis.pending('orders', 'billing')).toHaveLength(1)
    return (error as InvocationFailedError).report
  },
}

const ENTRY = { eventId: 'e-1', eventType: 'Paid', schemaVersion: '2', payload: '{"n":1}' }

/** How an entry ends, and what else happens to it: the numbers that the table is about. */
const REPORTED = [
  'acked',
  'duplicates',
  'ignored',
  'retried',
  'deadLettered',
  'parked',
  'released',
  'superseded',
  'unsettled',
  'lost',
  'invoked',
  'failed',
  'throttled',
  'overran',
] as const

/** What a healthy run has as well, or what says how much there was. */
const NO_FAILURES = [
  'InvokedEventCount',
  'PolledEventCount',
  'ClaimedEventCount',
  'IteratorAge',
  'DeliveryCount',
  'PublishToAckAge',
]

afterEach(() => {
  vi.restoreAllMocks()
})

describe('the table of failures', () => {
  it('has a row for each that is tested here', () => {
    expect(table.map(({ failure }) => failure)).toEqual(Object.keys(FAILURES))
  })

  it.each(table)('says what happens and what is counted: $failure', async ({ failure, ...said }) => {
    const clock = createVirtualClock()
    const redis = connectMemory({ clock })
    const written = captureOutput()
    const add = async (fields: Readonly<Record<string, string>>) => {
      await redis.append?.('orders', [Object.entries(fields)], { kind: 'length', maxLength: 100, exact: true })
    }
    const given: Given = { redis, clock, observe: reportMetrics(), add }
    const report = await run(given, (FAILURES[failure] as (given: Given) => Promise<Report>)(given))
    vi.restoreAllMocks()

    const lines = written.map(readMetricLine)
    const ofConsumer = lines.filter(({ dimensions }) => !dimensions.EventType && !dimensions.Reason)
    const counted = new Set(
      ofConsumer.flatMap(({ metrics }) => Object.keys(metrics).filter((name) => Number(metrics[name]) > 0)),
    )
    expect({
      reason: lines.find(({ dimensions }) => dimensions.Reason)?.dimensions.Reason,
      report: REPORTED.filter((name) => report[name] > 0).toSorted(),
      metrics: [...counted].filter((name) => !NO_FAILURES.includes(name) && name.endsWith('Count')).toSorted(),
    }).toEqual({ ...said, report: said.report.toSorted(), metrics: said.metrics.toSorted() })
    expect(written.join()).not.toContain('secret')
  })
})

function quoted(cell: string): string[] {
  return [...cell.matchAll(/`(\w+)`/g)].map(([, name = '']) => name)
}

function consumerOf(handler: EventHandler, options: Partial<ConsumerOptions> = {}): Consumer {
  const routes = [on(Paid, handler), on(Other, handler)]
  return defineConsumer({ stream: 'orders', group: 'billing', routes, ...options })
}

function rejecting(error: () => Error): EventHandler {
  return () => Promise.reject(error())
}

function throwing(error: () => Error): (given: Given) => Promise<Report> {
  return (given) => after(given, ENTRY, consumerOf(rejecting(error)))
}

/** Polls an entry. */
async function after(
  given: Given,
  fields: Readonly<Record<string, string>>,
  consumer = consumerOf(() => {}),
): Promise<Report> {
  await given.add(fields)
  return poll(consumer, { redis: given.redis, clock: given.clock, observe: given.observe, remainingMs: 60_000 })
}

async function run(given: Given, running: Promise<Report>): Promise<Report> {
  let isOver = false
  const ending = running.finally(() => {
    isOver = true
  })
  ending.catch(() => {})
  while (!isOver) await given.clock.advance(100)
  return ending
}
