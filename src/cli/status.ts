import { MillraceError } from '../errors.ts'
import { inspectStreams } from '../operate/inspect/inspect.ts'
import type { Inspection, StreamInspection } from '../operate/inspect/inspection.ts'
import { sleepUnlessAborted, untilAborted } from '../operate/until-aborted.ts'
import { listAbsentNames } from './absent-names.ts'
import { statusLines } from './status-lines.ts'
import { readStatusOptions, STATUS_USAGE, type StatusOptions } from './status-options.ts'
import { connectInspectionTargets, type InspectionTargets } from './targets.ts'
import { createLiveScreen } from './text/live-screen.ts'
import { printable, printableJson } from './text/printable.ts'
import { paint } from './text/text.ts'

/**
 * `millrace status`: shows streams and groups, once or until the signal.
 *
 * @throws {UsageError} The options are wrong.
 * @throws {MillraceError} The server cannot be reached, or refuses.
 */
export async function run(args: readonly string[], signal: AbortSignal): Promise<void> {
  const options = readStatusOptions(args)
  if (options.help) return console.log(STATUS_USAGE)
  const targets = await connectInspectionTargets('status', options.modules, options)
  const { redis, streams, consumers, sets, group } = targets
  const look = () => inspectStreams({ redis, streams, consumers, sets, ...(group === undefined ? {} : { group }) })
  try {
    const first = await untilAborted(look(), signal)
    if (first === undefined) return
    if (options.watchSeconds !== undefined) await watch(look, first, { ...options, targets, signal })
    else {
      console.log(options.json ? printableJson(first, 2) : statusLines(first, options).join('\n'))
      await noteAbsentNames(first, targets)
    }
  } finally {
    await redis.close()
  }
}

/** A module's streams and groups may be yet to come; what somebody typed and is not there may be mistyped. */
async function noteAbsentNames({ streams: seen }: Inspection, targets: InspectionTargets): Promise<void> {
  const known = new Set(targets.consumers.map(({ stream }) => stream))
  const streams = targets.streams.filter((stream) => !known.has(stream))
  const isAbsent = ({ stream, state, missingGroups }: StreamInspection) =>
    streams.includes(stream) && (state === 'missing' || missingGroups.length > 0)
  if (!seen.some(isAbsent)) return
  for (const absent of await listAbsentNames({ ...targets, streams })) {
    console.error(`millrace status: ${absent}`)
    process.exitCode = 1
  }
}

interface Watching extends StatusOptions {
  readonly targets: InspectionTargets
  readonly signal: AbortSignal
}

/** What was seen last, and what has gone wrong since. */
interface Seen {
  readonly inspection: Inspection
  readonly trouble?: string
}

/** Looks again and again; a failure is shown and tried again. */
async function watch(look: () => Promise<Inspection>, first: Inspection, watching: Watching): Promise<void> {
  const { watchSeconds = 0, signal } = watching
  const view = watching.json ? jsonView() : screenView(watching)
  let seen: Seen = { inspection: first }
  try {
    for (;;) {
      view.show(seen)
      await sleepUnlessAborted(watchSeconds * 1_000, signal)
      if (signal.aborted) return
      const { inspection } = seen
      const next = untilAborted(look(), signal).then((found) => found && { inspection: found })
      seen = (await next.catch((error: unknown) => ({ inspection, trouble: troubleOf(error) }))) ?? seen
      if (signal.aborted) return
    }
  } finally {
    view.close()
  }
}

function troubleOf(error: unknown): string {
  if (error instanceof MillraceError) return error.message
  throw error
}

interface View {
  show(seen: Seen): void
  close(): void
}

function jsonView(): View {
  return {
    show: ({ inspection, trouble }) =>
      console.log(printableJson(trouble === undefined ? inspection : { at: Date.now(), error: trouble })),
    close() {},
  }
}

function screenView({ watchSeconds, details, targets }: Watching): View {
  const screen = createLiveScreen(process.stdout)
  return {
    close: () => screen.close(),
    show({ inspection, trouble }) {
      const title = `${targets.server}  ${new Date().toTimeString().slice(0, 8)}  every ${watchSeconds} s`
      const troubles = trouble === undefined ? [] : [paint('red', `! ${printable(trouble)}; trying again`)]
      const age =
        trouble === undefined ? [] : [paint('dim', `As of ${new Date(inspection.at).toTimeString().slice(0, 8)}:`)]
      screen.show([paint('dim', title), ...troubles, ...age, '', ...statusLines(inspection, { details })])
    },
  }
}
