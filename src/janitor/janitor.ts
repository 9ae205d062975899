import { systemClock } from '../clock.ts'
import { MAX_DELAY_MS } from '../core/backoff.ts'
import type { JanitorReport, JanitorStreamReport } from '../core/janitor-report.ts'
import { openJanitorReport, sumJanitorReports } from '../core/janitor-report.ts'
import { resolveObservers } from '../define/observers.ts'
import { keepingOf } from '../group/redis/keeping.ts'
import type { ScheduledHandler } from '../run/scheduled.ts'
import { createHandler } from '../run/scheduled.ts'
import type { Archive } from './archive.ts'
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
import type { RegistryTexts } from './registry.ts'
import { lettersOf, registerChanged } from './registry.ts'
import type { TrimSurroundings, TrimTarget } from './trim-stream.ts'
import { Trimming, timeLeftMs } from './trim-stream.ts'

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

async function runStreams(streams: readonly TendedStream[], options: JanitorRunOptions): Promise<JanitorReport> {
  const { clock = systemClock, context, redis, signal } = options
  const started = clock.monotonic()
  const limitMs = Math.min(options.remainingMs ?? context?.getRemainingTimeInMillis?.() ?? 60_000, MAX_DELAY_MS)
  const remainingMs = () => started + limitMs - clock.monotonic()
  const keeping = keepingOf('run janitor', redis, () => remainingMs() - ANSWER_MARGIN_MS)
  const run = new JanitorRun({ keeping, limits: resolveRangeLimits(options), clock, remainingMs, signal })
  await run.tend(streams, options.archive)
  const report = sumJanitorReports(run.reports, clock.monotonic() - started)
  const error = run.failures.length > 0 ? new JanitorFailedError(run.failures, report) : undefined
  // a copy: an observer changes nothing
  const ended = { context: context ?? {}, report: structuredClone(report), error }
  resolveObservers('run janitor', options.observe)?.tell('janitorEnded', ended)
  if (error) throw error
  return report
}

/** What is registered of a stream. */
interface Registry {
  readonly stream: string
  readonly archive: TrimTarget['archive']
  readonly registered: RegistryTexts
}

class JanitorRun {
  readonly failures: JanitorFailure[] = []
  readonly #surroundings: TrimSurroundings
  readonly #trimmings: Trimming[] = []

  constructor(surroundings: TrimSurroundings) {
    this.#surroundings = surroundings
  }

  get reports(): readonly JanitorStreamReport[] {
    return this.#trimmings.map(({ report }) => report)
  }

  /** Trims streams and their dead letters in turns; the trouble of one does not stop the others. */
  async tend(streams: readonly TendedStream[], archive: Archive | undefined): Promise<void> {
    const registries: Registry[] = []
    for (const one of streams) {
      const ends = (one.archive ?? archive) || undefined
      const trimming = this.#add({ ...eventStream(one), archive: ends })
      await this.#attempt(trimming, async () => {
        const registered = await registerChanged(this.#surroundings.keeping, one.stream, one.groups ?? {})
        registries.push({ stream: one.stream, archive: ends, registered })
        trimming.know(registered)
      })
    }
    // groups of a registry that could not be read may share the letters of others, and keep them for longer
    if (registries.length === streams.length) for (const target of deadLetterStreams(registries)) this.#add(target)
    await this.#takeTurns()
  }

  #add(target: TrimTarget): Trimming {
    const trimming = new Trimming(target, this.#surroundings)
    this.#trimmings.push(trimming)
    return trimming
  }

  /**
   * Each has its share of the time that is left, one range at least; what they leave is shared again. Who comes first is drawn by lot: an archive that does not answer takes the
   * time of those behind it, and these are others in the next run.
   */
  async #takeTurns(): Promise<void> {
    const { clock, signal } = this.#surroundings
    const first = Math.floor(Math.random() * this.#trimmings.length)
    let waiting = [...this.#trimmings.slice(first), ...this.#trimmings.slice(0, first)]
    while (waiting.some(({ isOver }) => !isOver)) {
      waiting = waiting.filter(({ isOver }) => !isOver)
      for (const [n, trimming] of waiting.entries()) {
        const leftMs = timeLeftMs(this.#surroundings)
        if (leftMs <= 0 || signal?.aborted) return
        const until = clock.monotonic() + leftMs / (waiting.length - n)
        await this.#attempt(trimming, () => trimming.turn(until))
      }
    }
  }

  async #attempt(trimming: Trimming, work: () => Promise<void>): Promise<void> {
    const { clock } = this.#surroundings
    const started = clock.monotonic()
    try {
      await work()
    } catch (thrown) {
      const error = thrown instanceof Error ? thrown : new Error(String(thrown))
      this.failures.push({ stream: trimming.report.stream, error })
      trimming.isOver = true
    }
    trimming.report.durationMs += Math.round(clock.monotonic() - started)
  }
}

function eventStream({ stream, set, maxLength, retentionMs, beforeId, keepFrom, ignoreGroups = [] }: TendedStream) {
  const report = openJanitorReport(stream, set === undefined ? {} : { set })
  return { stream, maxLength, retentionMs, beforeId, keepFrom, needsGroups: true, ignored: ignoreGroups, report }
}

/** The dead-letter streams whose letters are not kept for ever. Of groups that share one, of whatever streams, the longest time holds, and the archive of the first that has one. */
function deadLetterStreams(registries: readonly Registry[]): readonly TrimTarget[] {
  const groups = registries.flatMap(({ stream, archive, registered }) =>
    [...registered].map(([group, text]) => ({ of: { stream, group }, archive, ...lettersOf(stream, group, text) })),
  )
  return [...Map.groupBy(groups, ({ letters }) => letters)].flatMap(([letters, sharing]) => {
    const times = sharing.flatMap(({ retentionMs }) => retentionMs ?? [])
    const [first] = sharing
    if (!first || times.length < sharing.length) return []
    return {
      stream: letters,
      archive: sharing.find(({ archive }) => archive)?.archive,
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
