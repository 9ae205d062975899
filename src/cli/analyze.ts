import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Consumer } from '../define/consumer.ts'
import type { Analysis } from '../operate/analyze/analysis.ts'
import { analyze } from '../operate/analyze/analyze.ts'
import type { AnalyzeProgress } from '../operate/analyze/options.ts'
import type { NamedSet } from '../operate/inspect/set-totals.ts'
import { listAbsentNames, type TypedNames } from './absent-names.ts'
import { analysisLines } from './analysis-lines.ts'
import { ANALYZE_USAGE, type AnalyzeCliOptions, analyzeUsageError, readAnalyzeOptions } from './analyze-options.ts'
import { checkFigureFolders, drawFigures, loadFigureTools } from './draw-figures.ts'
import { connectInspectionTargets, streamsOf } from './targets.ts'
import { printableJson } from './text/printable.ts'
import { ProgressBar } from './text/progress-bar.ts'
import { UsageError } from './usage-error.ts'

const BAR_INTERVAL_MS = 100
const PAGES_PER_COLLECTION = 200

/**
 * `millrace analyze`: prints what is in a stream, or, once the signal aborts, what was found until then.
 *
 * @throws {UsageError} The options are wrong, or a package is not there that they need.
 * @throws {MillraceError} The server cannot be reached, or refuses.
 */
export async function run(args: readonly string[], signal: AbortSignal): Promise<void> {
  const options = readAnalyzeOptions(args)
  if (options.help) return console.log(ANALYZE_USAGE)
  // else V8 lets garbage grow to three times of what is needed; the program does nothing but this
  for (const flag of ['--optimize-for-size', '--semi-space-growth-factor=1', '--expose-gc']) setFlagsFromString(flag)
  await checkFigureFolders(options)
  const tools = await loadFigureTools(options)
  const analyses = await analyzeTargets(options, signal)
  const [only, ...others] = analyses as readonly [Analysis, ...Analysis[]]
  if (options.json) console.log(printableJson(others.length > 0 ? analyses : only, 2))
  else console.log(analyses.map((analysis) => analysisLines(analysis).join('\n')).join('\n\n'))
  if (analyses.some(({ state, isComplete }) => state === 'missing' || !isComplete)) process.exitCode = 1
  if (only.state === 'stream' && others.length === 0) await drawFigures(tools, only, options)
}

async function analyzeTargets(
  { modules, stream: named, priorities, options, ...cli }: AnalyzeCliOptions,
  signal: AbortSignal,
): Promise<readonly Analysis[]> {
  const given = { redis: cli.redis, ...(named !== undefined && { stream: [named] }), priorities }
  const { group } = options
  const { redis, consumers, sets } = await connectInspectionTargets('analyze', modules, given)
  const bar = new ProgressBar(process.stderr)
  try {
    const targets = targetsOf(named, consumers, sets)
    if (targets.length > 1 && (cli.svg ?? cli.png) !== undefined)
      throw new UsageError('millrace analyze: --svg and --png draw one stream: name one of the set')
    const [draw, collect] = [drawProgress(bar), collectGarbage()]
    const onProgress = (progress: AnalyzeProgress) => {
      draw(progress)
      collect()
    }
    const analyses: Analysis[] = []
    for (const { stream, codec } of targets) {
      const reading = { ...options, ...(codec && { codec }), redis, signal, onProgress }
      const analysis = await analyze(stream, reading).catch((error: Error) => {
        throw error instanceof TypeError || error instanceof RangeError ? analyzeUsageError(error) : error
      })
      analyses.push(analysis)
      if (signal.aborted) break
    }
    bar.clear()
    if (consumers.length === 0)
      await noteAbsentNames({ redis, streams: targets.map(({ stream }) => stream), sets, group })
    return analyses
  } finally {
    bar.clear()
    await redis.close()
  }
}

async function noteAbsentNames(names: TypedNames): Promise<void> {
  for (const absent of await listAbsentNames(names)) {
    console.error(`millrace analyze: ${absent}`)
    process.exitCode = 1
  }
}

type Target = Pick<Consumer, 'stream'> & Partial<Pick<Consumer, 'codec'>>

/** The stream that was named, else that of the modules, or those of the set, with the codecs of their consumers. */
function targetsOf(
  named: string | undefined,
  consumers: readonly Consumer[],
  sets: readonly NamedSet[],
): readonly Target[] {
  const names = [...new Set(named === undefined ? consumers.map(({ stream, set }) => set?.name ?? stream) : [named])]
  if (names.length !== 1) throw new UsageError(`millrace analyze: one STREAM must be named, got ${names.length}`)
  return streamsOf(names, sets).map((stream) => {
    const consumer = consumers.find((each) => each.stream === stream)
    return consumer ? { stream, codec: consumer.codec } : { stream }
  })
}

/**
 * Collects garbage once in so many calls. V8 marks beside the program, and where that has no processor to itself, as next to a server on the same machine,
 * garbage grows meanwhile: the more, the longer the program runs.
 */
function collectGarbage(): () => void {
  const collect = runInNewContext('gc') as () => void
  let calls = 0
  return () => {
    if (++calls % PAGES_PER_COLLECTION === 0) collect()
  }
}

function drawProgress(bar: ProgressBar): (progress: AnalyzeProgress) => void {
  let drawn = -Infinity
  return ({ doing, read, expected }) => {
    const now = performance.now()
    if (now - drawn < BAR_INTERVAL_MS) return
    drawn = now
    bar.draw(read, expected, doing)
  }
}
