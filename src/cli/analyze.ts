import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { Consumer } from '../define/consumer.ts'
import type { Analysis } from '../operate/analyze/analysis.ts'
import { analyze } from '../operate/analyze/analyze.ts'
import type { AnalyzeProgress } from '../operate/analyze/options.ts'
import { analysisLines } from './analysis-lines.ts'
import { ANALYZE_USAGE, type AnalyzeCliOptions, analyzeUsageError, readAnalyzeOptions } from './analyze-options.ts'
import { checkFigureFolders, drawFigures, loadFigureTools } from './draw-figures.ts'
import { connectInspectionTargets } from './targets.ts'
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
  const analysis = await analyzeTarget(options, signal)
  console.log(options.json ? printableJson(analysis, 2) : analysisLines(analysis).join('\n'))
  if (analysis.state === 'missing' || !analysis.isComplete) process.exitCode = 1
  if (analysis.state === 'stream') await drawFigures(tools, analysis, options)
}

async function analyzeTarget(
  { modules, stream: named, options, ...cli }: AnalyzeCliOptions,
  signal: AbortSignal,
): Promise<Analysis> {
  const { redis, consumers } = await connectInspectionTargets('analyze', modules, { redis: cli.redis })
  const bar = new ProgressBar(process.stderr)
  try {
    const { stream, codec } = streamOf(named, consumers)
    const [draw, collect] = [drawProgress(bar), collectGarbage()]
    const onProgress = (progress: AnalyzeProgress) => {
      draw(progress)
      collect()
    }
    const reading = { ...options, ...(codec && { codec }), redis, signal, onProgress }
    return await analyze(stream, reading).catch((error: Error) => {
      throw error instanceof TypeError || error instanceof RangeError ? analyzeUsageError(error) : error
    })
  } finally {
    bar.clear()
    await redis.close()
  }
}

/** The stream that was named, else that of the modules, and the codec of its consumer. */
function streamOf(
  named: string | undefined,
  consumers: readonly Consumer[],
): Pick<Consumer, 'stream'> & Partial<Pick<Consumer, 'codec'>> {
  const streams = [...new Set(named === undefined ? consumers.map(({ stream }) => stream) : [named])]
  const [stream, ...others] = streams
  if (stream === undefined || others.length > 0)
    throw new UsageError(`millrace analyze: one STREAM must be named, got ${streams.length}`)
  const consumer = consumers.find((each) => each.stream === stream)
  return consumer ? { stream, codec: consumer.codec } : { stream }
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
