import { systemClock } from '../clock.ts'
import type { Consumer } from '../consumer.ts'
import { MAX_DELAY_MS } from '../core/backoff.ts'
import { createBudget } from '../core/budget.ts'
import type { ConsumerFailure } from '../errors.ts'
import { InvocationFailedError, InvocationTooShortError, RedisConnectionError } from '../errors.ts'
import type { SlotKind } from '../group/group.ts'
import type { OpenReport, Report } from '../report.ts'
import { openReport, sumReports } from '../report.ts'
import { extrasOf } from './context.ts'
import type { Gate } from './gate.ts'
import { createGate } from './gate.ts'
import { Run } from './run.ts'
import type { RunOptions } from './targets.ts'

/** What kind of run it is, and what it does once it has its slot. */
export interface RunKind {
  readonly action: 'poll' | 'claim'
  readonly slot: SlotKind
  slots(consumer: Consumer): number
  work(run: Run): Promise<void>
}

/** A lease outlives its invocation by that much, so that nobody takes the slot before Lambda has ended it. */
const LEASE_MARGIN_MS = 5_000

/** No call waits for an answer in the last moments, so that the invocation can still fail with its report. */
const ANSWER_MARGIN_MS = 50

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
  const remainingMs = Math.min(
    options.remainingMs ?? options.context?.getRemainingTimeInMillis?.() ?? 60_000,
    MAX_DELAY_MS,
  )
  const reports = consumers.map(({ stream, group }) => openReport(stream, group))
  for (const { group, settings } of consumers) {
    const limits = { remainingMs, handlerTimeoutMs: settings.handlerTimeoutMs, reserveMs: settings.reserveMs }
    if (remainingMs < settings.handlerTimeoutMs + settings.reserveMs)
      throw new InvocationTooShortError(group, limits, sumReports(reports))
  }
  const gate = createGate(consumers.length > 1)
  const runs = consumers.map((consumer, n) =>
    runConsumer(kind, consumer, { ...options, remainingMs, gate }, reports[n] as OpenReport),
  )
  const failures = (await Promise.all(runs)).flat()
  const report = sumReports(reports)
  if (failures.length > 0) throw new InvocationFailedError(kind.action, failures, report)
  return report
}

async function runConsumer(
  kind: RunKind,
  consumer: Consumer,
  options: RunOptions & { readonly remainingMs: number; readonly gate: Gate },
  report: OpenReport,
): Promise<ConsumerFailure[]> {
  const { redis, remainingMs, gate, signal, context: lambda, clock = systemClock } = options
  const { stream, group: name, settings } = consumer
  const start = clock.monotonic()
  const budget = createBudget({ now: start, remainingMs, ...settings })
  const group = redis.group(consumer, () => budget.deadline - clock.monotonic() - ANSWER_MARGIN_MS)
  const parts = {
    consumer,
    group,
    budget,
    clock,
    report,
    lambda,
    extras: extrasOf(lambda),
    signal,
    gate,
    random: Math.random,
  }
  let errors: readonly Error[] = []
  try {
    const slot = await group.takeSlot(kind.slot, kind.slots(consumer), remainingMs + LEASE_MARGIN_MS)
    report.slotsBusy = slot === undefined
    if (slot) errors = await runSlot(kind, new Run({ ...parts, slot }))
  } catch (error) {
    errors = [error as Error]
  }
  report.roundTrips = group.roundTrips
  report.durationMs = Math.round(clock.monotonic() - start)
  return errors.map((error) => ({ stream, group: name, error }))
}

async function runSlot(kind: RunKind, run: Run): Promise<readonly Error[]> {
  const { group, slot, report } = run.parts
  try {
    await kind.work(run)
    await run.end()
    const isSettled = report.unsettled === 0 && run.failures.length === 0
    await group.giveSlot(slot, kind.slot === 'poller' && isSettled)
    return run.failures
  } catch (error) {
    await run.end()
    // a lease that cannot be given back ends by itself, but only with the invocation's time
    await group.giveSlot(slot, false).catch(() => {})
    // a connection that was gone for one call is gone for the next
    const isKnown =
      error instanceof RedisConnectionError && run.failures.some((other) => other instanceof RedisConnectionError)
    return isKnown ? run.failures : [...run.failures, error as Error]
  }
}
