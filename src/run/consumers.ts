import { systemClock } from '../clock.ts'
import type { Consumer } from '../consumer.ts'
import { MAX_DELAY_MS } from '../core/backoff.ts'
import { createBudget } from '../core/budget.ts'
import type { ConsumerFailure } from '../errors.ts'
import { InvocationFailedError, InvocationTooShortError, RedisConnectionError } from '../errors.ts'
import type { Connection, SlotKind } from '../group/group.ts'
import { resolveObservers } from '../observers.ts'
import type { Report } from '../report.ts'
import { sumReports } from '../report.ts'
import { extrasOf } from './context.ts'
import type { RunParts } from './parts.ts'
import { Run } from './run.ts'
import { RunReport } from './run-report.ts'
import type { FurtherPollers } from './scale-out.ts'
import type { RunOptions } from './targets.ts'

/** What kind of run it is, and what it does once it has its slot. */
export interface RunKind {
  readonly action: 'poll' | 'claim'
  readonly slot: SlotKind
  slots(consumer: Consumer): number
  /** @returns Whether only the time kept it from going on. */
  work(run: Run): Promise<boolean>
}

/** One invocation of a poller or claimer. */
export interface InvocationOptions extends RunOptions {
  /** The pollers that it may call. */
  readonly further?: FurtherPollers | undefined
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
  options: InvocationOptions,
): Promise<Report> {
  const remainingMs = Math.min(
    options.remainingMs ?? options.context?.getRemainingTimeInMillis?.() ?? 60_000,
    MAX_DELAY_MS,
  )
  const { clock = systemClock, further, context, signal } = options
  const observers = resolveObservers(kind.action, options.observe)
  const invocation = {
    action: kind.action,
    consumers: consumers.map(({ stream, group }) => ({ stream, group })),
    context: context ?? {},
  }
  const reports = consumers.map((consumer) => new RunReport(consumer, clock, invocation, observers))
  const sum = () =>
    sumReports(
      kind.action,
      reports.map(({ numbers }) => numbers),
    )
  observers?.tell('invocationStarted', invocation)
  const finish = (report: Report, error?: Error): Report => {
    // a copy: whoever is told changes nothing
    observers?.tell('invocationEnded', { invocation, report: structuredClone(report), error })
    if (error) throw error
    return report
  }
  for (const { group, settings } of consumers) {
    const { handlerTimeoutMs, reserveMs } = settings
    if (remainingMs >= handlerTimeoutMs + reserveMs) continue
    const report = sum()
    return finish(report, new InvocationTooShortError(group, { remainingMs, handlerTimeoutMs, reserveMs }, report))
  }
  const deadline = clock.monotonic() + remainingMs
  const extras = extrasOf(context)
  const shared = { clock, lambda: context, extras, signal, further, observers, invocation, random: Math.random }
  const runs = consumers.map((consumer, n) =>
    runConsumer(kind, { ...shared, consumer, report: reports[n] as RunReport }, options.redis, remainingMs),
  )
  const ends = await Promise.all(runs)
  const failures = ends.flatMap((end) => end.failures)
  const cutOff = reports.filter((_report, n) => ends[n]?.isCutOff)
  // slots are free again by now
  const leftMs = deadline - clock.monotonic() - ANSWER_MARGIN_MS
  if (further && cutOff.length > 0 && further.mayCall(leftMs))
    failures.push(...(await goOn(cutOff, further.call(leftMs))))
  const report = sum()
  return finish(report, failures.length > 0 ? new InvocationFailedError(kind.action, failures, report) : undefined)
}

/** Has another poller go on where this invocation's time was up. */
async function goOn(cutOff: readonly RunReport[], call: Promise<void>): Promise<readonly ConsumerFailure[]> {
  try {
    await call
  } catch (error) {
    return cutOff.map(({ numbers: { stream, group } }) => ({ stream, group, error: error as Error }))
  }
  for (const report of cutOff) report.continued()
  return []
}

async function runConsumer(
  kind: RunKind,
  parts: Omit<RunParts, 'group' | 'slot' | 'budget'>,
  redis: Connection,
  remainingMs: number,
): Promise<{ readonly failures: readonly ConsumerFailure[]; readonly isCutOff: boolean }> {
  const { consumer, clock, report } = parts
  const { stream, group: name, settings } = consumer
  const start = clock.monotonic()
  const budget = createBudget({ now: start, remainingMs, ...settings })
  const group = redis.group(consumer, () => budget.deadline - clock.monotonic() - ANSWER_MARGIN_MS)
  let end: RunEnd = NO_RUN
  try {
    for (let isFirst = true; isFirst || end.isWanted; isFirst = false) {
      const leaseMs = budget.deadline - clock.monotonic() + LEASE_MARGIN_MS
      const slot = await group.takeSlot(kind.slot, kind.slots(consumer), leaseMs)
      if (slot === undefined) {
        if (isFirst) report.noSlot()
        break
      }
      end = await runSlot(kind, new Run({ ...parts, group, slot, budget }))
    }
  } catch (error) {
    end = { ...NO_RUN, errors: [error as Error] }
  }
  report.ended(group.roundTrips, clock.monotonic() - start)
  return { failures: end.errors.map((error) => ({ stream, group: name, error })), isCutOff: end.isCutOff }
}

/** How a run ended. */
interface RunEnd {
  readonly errors: readonly Error[]
  /** Only the time kept it from going on. */
  readonly isCutOff: boolean
  /** A publisher woke a poller meanwhile: it may have found every slot taken, so that this one reads once more. */
  readonly isWanted: boolean
}

const NO_RUN: RunEnd = { errors: [], isCutOff: false, isWanted: false }

async function runSlot(kind: RunKind, run: Run): Promise<RunEnd> {
  const { settler, time } = run
  const { group, slot, report, consumer } = run.parts
  try {
    const isCutOff = await kind.work(run)
    await run.end()
    const { drained, acked, ackMissed } = report.numbers
    const isPoll = kind.slot === 'poller'
    const mayGoOn = isPoll && consumer.settings.mode === 'drain' && drained && run.isSound && time.mayStart()
    const hasAcked = isPoll && acked > ackMissed // a claimer's own script has noted it
    const isWanted = await group.giveSlot(slot, isPoll && settler.isSettled, mayGoOn, hasAcked)
    return { errors: settler.failures, isCutOff, isWanted }
  } catch (error) {
    await run.end()
    // a lease that cannot be given back ends by itself, but only with the invocation's time
    await group.giveSlot(slot, false).catch(() => {})
    // a connection that was gone for one call is gone for the next
    const isKnown =
      error instanceof RedisConnectionError && settler.failures.some((other) => other instanceof RedisConnectionError)
    const errors = isKnown ? settler.failures : [...settler.failures, error as Error]
    return { errors, isCutOff: false, isWanted: false }
  }
}
