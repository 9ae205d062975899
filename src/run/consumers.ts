import type { Clock } from '../clock.ts'
import { systemClock } from '../clock.ts'
import type { Consumer } from '../consumer.ts'
import { createBudget } from '../core/budget.ts'
import type { ConsumerFailure } from '../errors.ts'
import { InvocationFailedError, InvocationTooShortError, RedisConnectionError } from '../errors.ts'
import type { Connection, SlotKind } from '../group/group.ts'
import type { LambdaContext } from '../handler.ts'
import type { ConsumerReport, Report } from '../report.ts'
import { createConsumerReport, sumReports } from '../report.ts'
import { Run } from './run.ts'

export interface RunOptions {
  /** The server; made once at module scope, shared by every invocation. */
  readonly redis: Connection
  /** Milliseconds this invocation has. Default 60,000. */
  readonly remainingMs?: number
  /** Once aborted nothing new is read or started; what runs is finished and settled. */
  readonly signal?: AbortSignal
  /** Lambda's context, which handlers receive as part of theirs. */
  readonly context?: Partial<LambdaContext>
  /** Time, for tests. Default: the system's. */
  readonly clock?: Clock
}

/** What kind of run it is, and what it does once it has its slot. */
export interface RunKind {
  readonly action: 'poll' | 'claim'
  readonly slot: SlotKind
  slots(consumer: Consumer): number
  work(run: Run): Promise<void>
}

/** A lease outlives its invocation by that much, so that nobody takes the slot before Lambda has ended it. */
const LEASE_MARGIN_MS = 5_000

const LAMBDA_MEMBERS = new Set([
  'functionName',
  'functionVersion',
  'invokedFunctionArn',
  'memoryLimitInMB',
  'awsRequestId',
  'logGroupName',
  'logStreamName',
  'callbackWaitsForEmptyEventLoop',
  'getRemainingTimeInMillis',
])

/**
 * Runs consumers side by side; the trouble of one does not stop the others.
 *
 * @throws {InvocationTooShortError} Not even one handler fits into the invocation.
 * @throws {InvocationFailedError} The server could not be reached, or refused what was asked of it; carries the report.
 */
export async function runConsumers(
  kind: RunKind,
  consumers: readonly Consumer[],
  options: RunOptions,
): Promise<Report> {
  const { remainingMs = 60_000 } = options
  const reports = consumers.map(({ stream, group }) => createConsumerReport(stream, group))
  for (const { group, settings } of consumers) {
    const limits = { remainingMs, handlerTimeoutMs: settings.handlerTimeoutMs, reserveMs: settings.reserveMs }
    if (remainingMs < settings.handlerTimeoutMs + settings.reserveMs)
      throw new InvocationTooShortError(group, limits, sumReports(reports))
  }
  const runs = consumers.map((consumer, n) =>
    runConsumer(kind, consumer, { ...options, remainingMs }, reports[n] as ConsumerReport),
  )
  const failures = (await Promise.all(runs)).flat()
  const report = sumReports(reports)
  if (failures.length > 0) throw new InvocationFailedError(kind.action, failures, report)
  return report
}

async function runConsumer(
  kind: RunKind,
  consumer: Consumer,
  { redis, remainingMs, signal, context: lambda, clock = systemClock }: RunOptions & { remainingMs: number },
  report: ConsumerReport,
): Promise<ConsumerFailure[]> {
  const { stream, group: name, settings } = consumer
  const start = clock.monotonic()
  const budget = createBudget({ now: start, remainingMs, ...settings })
  const group = redis.group(consumer)
  let errors: readonly Error[] = []
  try {
    const slot = await group.takeSlot(kind.slot, kind.slots(consumer), remainingMs + LEASE_MARGIN_MS)
    if (slot) {
      const run = new Run({ consumer, group, slot, budget, clock, report, lambda, extras: extrasOf(lambda), signal })
      errors = await runSlot(kind, run)
    } else report.slotsBusy = true
  } catch (error) {
    errors = [error as Error]
  }
  report.roundTrips = group.roundTrips
  report.durationMs = Math.round(clock.monotonic() - start)
  return errors.map((error) => ({ stream, group: name, error }))
}

async function runSlot(kind: RunKind, run: Run): Promise<readonly Error[]> {
  const { group, slot } = run.parts
  try {
    await kind.work(run)
    await run.end()
    await group.giveSlot(slot)
    return run.failures
  } catch (error) {
    await run.end()
    // a lease that cannot be given back ends by itself
    if (!(error instanceof RedisConnectionError)) await group.giveSlot(slot).catch(() => {})
    return [...run.failures, error as Error]
  }
}

function extrasOf(lambda: object | undefined): object | undefined {
  const extras = Object.entries(lambda ?? {}).filter(([name]) => !LAMBDA_MEMBERS.has(name))
  return extras.length > 0 ? Object.fromEntries(extras) : undefined
}
