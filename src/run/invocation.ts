import { systemClock } from '../clock.ts'
import { MAX_DELAY_MS } from '../core/backoff.ts'
import type { Consumer } from '../define/consumer.ts'
import { resolveObservers } from '../define/observers.ts'
import type { MemberPlaces, SetPlaces } from '../define/set-places.ts'
import type { Report } from '../report.ts'
import { sumReports } from '../report.ts'
import type { ClaimerWake } from './claimer-wake.ts'
import type { ConsumerRunEnd, PollOrClaimRun } from './consumer-run.ts'
import { ANSWER_MARGIN_MS, runConsumer } from './consumer-run.ts'
import { lambdaContextExtras } from './context.ts'
import type { ConsumerFailure } from './invocation-errors.ts'
import { InvocationFailedError, InvocationTooShortError } from './invocation-errors.ts'
import { RunReport } from './run-report.ts'
import type { FurtherPollers } from './scale-out.ts'
import type { RunOptions } from './targets.ts'

/** One invocation of a poller or claimer. */
export interface InvocationOptions extends RunOptions {
  /** The pollers that it may call. */
  readonly further?: FurtherPollers | undefined
  /** The claimer that it may wake. */
  readonly claimerWake?: ClaimerWake | undefined
  /** For how long a run waits for what comes next, in milliseconds: a poller after its last entry, a claimer for what is due next. */
  lingerMs(consumer: Consumer): number
}

/**
 * Runs consumers side by side; the trouble of one does not stop the others.
 *
 * @throws {InvocationTooShortError} Not even one handler of any consumer fits into the invocation.
 * @throws {InvocationFailedError} The server could not be reached, or refused what was asked of it; carries the report.
 */
export async function runConsumers(
  kind: PollOrClaimRun,
  consumers: readonly Consumer[],
  options: InvocationOptions,
): Promise<Report> {
  const { clock = systemClock, further, claimerWake, context, signal } = options
  const remainingMs = Math.min(options.remainingMs ?? context?.getRemainingTimeInMillis?.() ?? 60_000, MAX_DELAY_MS)
  const observers = resolveObservers(kind.action, options.observe)
  const invocation = {
    action: kind.action,
    consumers: consumers.map(({ stream, group, set }) => ({ stream, group, ...(set && { set: set.name }) })),
    context: context ?? {},
  }
  observers?.tell('invocationStarted', invocation)
  const deadline = clock.monotonic() + remainingMs
  const reports = consumers.map((consumer) => new RunReport(consumer, clock, invocation, observers))
  const { action } = kind
  const ofLambda = { lambda: context, extras: lambdaContextExtras(context) }
  const places = sharePlaces(consumers)
  const surroundings = {
    action,
    clock,
    ...ofLambda,
    signal,
    further,
    claimerWake,
    observers,
    invocation,
    random: Math.random,
  }
  const runs = consumers.map((consumer, n) => {
    const report = reports[n] as RunReport
    const end = tooShort(consumer, report, remainingMs, kind)
    if (end) {
      places[n]?.rest()
      return Promise.resolve(end)
    }
    const shared = places[n]
    const parts = { ...surroundings, consumer, report, lingerMs: options.lingerMs(consumer), shared }
    return runConsumer(kind, parts, options.redis, remainingMs).finally(() => shared?.rest())
  })
  const ends = await Promise.all(runs)
  const failures = ends.flatMap((end) => end.failures)
  const cutOff = reports.filter((_report, n) => ends[n]?.isCutOff)
  // slots are free again by now
  const leftMs = deadline - clock.monotonic() - ANSWER_MARGIN_MS
  if (further && cutOff.length > 0 && further.mayCall(leftMs))
    failures.push(...(await goOn(cutOff, further.call(leftMs))))
  const numbers = reports.map((report) => report.numbers)
  const report = sumReports(action, numbers)
  const error = errorOf(kind, consumers, failures, report)
  // a copy: an observer changes nothing
  observers?.tell('invocationEnded', { invocation, report: structuredClone(report), error })
  if (error) throw error
  return report
}

/** The places of each consumer that is of a set: those of one set share them. */
function sharePlaces(consumers: readonly Consumer[]): readonly (MemberPlaces | undefined)[] {
  const sets = new Map<unknown, SetPlaces>()
  return consumers.map(({ set, settings }) => {
    if (!set) return undefined
    const places = sets.get(set.share) ?? set.share(settings.concurrency)
    sets.set(set.share, places)
    return places.join(set.weight)
  })
}

/** How a consumer ends for which the invocation is too short; `undefined` for others. */
function tooShort(
  { stream, group, settings: { reserveMs }, routeBounds }: Consumer,
  { numbers }: RunReport,
  remainingMs: number,
  { action }: PollOrClaimRun,
): ConsumerRunEnd | undefined {
  const { longestTimeoutMs: handlerTimeoutMs, longestType: eventType } = routeBounds
  if (remainingMs >= handlerTimeoutMs + reserveMs) return undefined
  const report = sumReports(action, [numbers])
  const error = new InvocationTooShortError(group, { remainingMs, handlerTimeoutMs, reserveMs, eventType }, report)
  return { failures: [{ stream, group, error }], isCutOff: false }
}

function errorOf(
  { action }: PollOrClaimRun,
  consumers: readonly Consumer[],
  failures: readonly ConsumerFailure[],
  report: Report,
): Error | undefined {
  const [first] = failures
  if (!first) return undefined
  const isTooShort = ({ error }: ConsumerFailure) => error instanceof InvocationTooShortError
  if (failures.length < consumers.length || !failures.every(isTooShort))
    return new InvocationFailedError(action, failures, report)
  const limits = first.error as InvocationTooShortError
  return new InvocationTooShortError(first.group, limits, report)
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
