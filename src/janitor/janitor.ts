import { systemClock } from '../clock.ts'
import { MAX_DELAY_MS } from '../core/backoff.ts'
import type { JanitorReport, JanitorStreamReport } from '../core/janitor-report.ts'
import { openJanitorReport, sumJanitorReports } from '../core/janitor-report.ts'
import { consumerKeys } from '../core/keys.ts'
import type { GroupRegistration } from '../core/registration.ts'
import { encodeRegistration, parseRegistration } from '../core/registration.ts'
import { resolveObservers } from '../define/observers.ts'
import type { Keeping } from '../group/keeping.ts'
import { keepingOf } from '../group/redis/keeping.ts'
import type { ScheduledHandler } from '../run/scheduled.ts'
import { createHandler } from '../run/scheduled.ts'
import { deployedStreams } from './deployed-streams.ts'
import type { JanitorFailure } from './janitor-failed-error.ts'
import { JanitorFailedError } from './janitor-failed-error.ts'
import type { JanitorOptions, JanitorRunOptions, JanitorStream, TendedStream } from './janitor-options.ts'
import {
  checkJanitorOptions,
  checkJanitorStreams,
  JANITOR_OPTION_NAMES,
  resolveRangeLimits,
} from './janitor-options.ts'
import type { TrimSurroundings, TrimTarget } from './trim-stream.ts'
import { trimStream } from './trim-stream.ts'

/** No call waits for an answer in the last moments, so that the run can still fail with its report. */
const ANSWER_MARGIN_MS = 50

/**
 * Makes the Lambda handler of a janitor: it trims streams to what all their groups have done, and archives before it trims. It resolves to the report.
 *
 * Nothing goes that a group has not read, that is pending or set aside, that is above the mark of a group, or that somebody keeps. A group that nobody registered counts like the others.
 *
 * @throws {TypeError | RangeError} A bad option.
 */
export function createJanitor(
  streams: JanitorStream | readonly JanitorStream[],
  options: JanitorOptions,
): ScheduledHandler<JanitorReport> {
  const action = 'create janitor'
  checkJanitorOptions(action, options, JANITOR_OPTION_NAMES)
  const given = deployedStreams(checkJanitorStreams(action, streams), process.env)
  return createHandler(
    () => sumJanitorReports([], 0),
    (_event, context) => runStreams(given, { ...options, context }),
  )
}

/**
 * Trims once, outside Lambda or below it: what the handler of `createJanitor` does.
 *
 * @throws {JanitorFailedError} The server could not be reached, an archive refused, or `keepFrom` threw; carries the report.
 */
export async function runJanitor(
  streams: JanitorStream | readonly JanitorStream[],
  options: JanitorRunOptions,
): Promise<JanitorReport> {
  const action = 'run janitor'
  checkJanitorOptions(action, options, [...JANITOR_OPTION_NAMES, 'remainingMs', 'signal', 'context'])
  return runStreams(checkJanitorStreams(action, streams), options)
}

/** One stream after the other, then their dead letters; the trouble of one does not stop the others. */
async function runStreams(streams: readonly TendedStream[], options: JanitorRunOptions): Promise<JanitorReport> {
  const { clock = systemClock, context, redis, signal } = options
  const started = clock.monotonic()
  const limitMs = Math.min(options.remainingMs ?? context?.getRemainingTimeInMillis?.() ?? 60_000, MAX_DELAY_MS)
  const remainingMs = () => started + limitMs - clock.monotonic()
  const keeping = keepingOf('run janitor', redis, () => remainingMs() - ANSWER_MARGIN_MS)
  const run = new JanitorRun({ keeping, limits: resolveRangeLimits(options), clock, remainingMs, signal })
  for (const stream of streams) await run.tend(stream, stream.archive ?? options.archive)
  await run.tendDeadLetters()
  const report = sumJanitorReports(run.reports, clock.monotonic() - started)
  const error = run.failures.length > 0 ? new JanitorFailedError(run.failures, report) : undefined
  // a copy: an observer changes nothing
  const ended = { context: context ?? {}, report: structuredClone(report), error }
  resolveObservers('run janitor', options.observe)?.tell('janitorEnded', ended)
  if (error) throw error
  return report
}

/** What is registered of a stream: texts by group. */
interface Registry {
  readonly stream: string
  readonly archive: TrimTarget['archive']
  readonly registered: ReadonlyMap<string, string>
}

class JanitorRun {
  readonly reports: JanitorStreamReport[] = []
  readonly failures: JanitorFailure[] = []
  readonly #surroundings: TrimSurroundings
  readonly #registries: Registry[] = []
  #tended = 0

  constructor(surroundings: TrimSurroundings) {
    this.#surroundings = surroundings
  }

  async tend(given: TendedStream, archive: TrimTarget['archive'] | false): Promise<void> {
    const { stream, set, maxLength, retentionMs, beforeId, keepFrom, groups = {}, ignoreGroups = [] } = given
    const { keeping } = this.#surroundings
    const ends = archive === false ? undefined : archive
    const register = async () => {
      this.#registries.push({ stream, archive: ends, registered: await registerChanged(keeping, stream, groups) })
    }
    this.#tended++
    await this.#trim(
      {
        stream,
        maxLength,
        retentionMs,
        beforeId,
        keepFrom,
        needsGroups: true,
        ignored: ignoreGroups,
        archive: ends,
        report: openJanitorReport(stream, set === undefined ? {} : { set }),
      },
      register,
    )
  }

  /** Not where a registry could not be read: its groups may share the letters of others, and keep them for longer. */
  async tendDeadLetters(): Promise<void> {
    if (this.#registries.length < this.#tended) return
    for (const letters of deadLetterStreams(this.#registries)) await this.#trim(letters)
  }

  async #trim(target: TrimTarget, prepare?: () => Promise<void>): Promise<void> {
    const { clock } = this.#surroundings
    const { stream, report } = target
    const started = clock.monotonic()
    this.reports.push(report)
    try {
      await prepare?.()
      await trimStream(target, this.#surroundings)
    } catch (error) {
      this.failures.push({ stream, error: error as Error })
    }
    report.durationMs = Math.round(clock.monotonic() - started)
  }
}

/** Registers what is not registered as it is given. @returns The registry's texts by group. */
async function registerChanged(
  keeping: Keeping,
  stream: string,
  groups: Readonly<Record<string, GroupRegistration>>,
): Promise<ReadonlyMap<string, string>> {
  const known = await keeping.registered(stream)
  const texts = Object.entries(groups).map(([group, given]) => [group, encodeRegistration(given)] as const)
  const changed = texts.filter(([group, text]) => known.get(group) !== text)
  if (changed.length > 0) await keeping.register(stream, Object.fromEntries(changed))
  return new Map([...known, ...changed])
}

/** The dead-letter streams whose letters are not kept for ever. Of groups that share one, of whatever streams, the longest time holds, and the archive of the first. */
function deadLetterStreams(registries: readonly Registry[]): readonly TrimTarget[] {
  const groups = registries.flatMap(({ stream, archive, registered }) =>
    [...registered].map(([group, text]) => {
      const { deadLetters } = parseRegistration(text) ?? {}
      const letters = deadLetters?.stream ?? consumerKeys(stream, group).deadLetters
      return { of: { stream, group }, archive, letters, retentionMs: deadLetters?.retentionMs }
    }),
  )
  return [...Map.groupBy(groups, ({ letters }) => letters)].flatMap(([letters, sharing]) => {
    const times = sharing.flatMap(({ retentionMs }) => retentionMs ?? [])
    const [first] = sharing
    if (!first || times.length < sharing.length) return []
    return {
      stream: letters,
      archive: first.archive,
      retentionMs: Math.max(...times),
      maxLength: undefined,
      beforeId: undefined,
      keepFrom: undefined,
      needsGroups: false,
      ignored: [],
      report: openJanitorReport(letters, { deadLettersOf: first.of }),
    }
  })
}
