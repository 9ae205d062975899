import { assertObject, wrongUseError } from '../core/options.ts'
import { quotedValue } from '../errors.ts'
import type { JanitorStream, TendedStream } from './janitor-options.ts'
import { checkJanitorStreams, checkTendedStreams } from './janitor-options.ts'

/** Where a deployment says what its streams are trimmed by, and who their groups are: JSON, an array with one object a stream, `{ stream, maxLength, groups, … }`. */
export const JANITOR_VARIABLE = 'MILLRACE_JANITOR'

/**
 * The streams of a janitor with what its deployment sets: the template has the last word, and its groups join those of the code.
 *
 * @throws {TypeError | RangeError} The variable is not JSON of that form, or a value is out of range.
 */
export function deployedStreams(streams: readonly TendedStream[], env: NodeJS.ProcessEnv): readonly TendedStream[] {
  const json = env[JANITOR_VARIABLE]
  if (!json) return streams
  const action = `read ${JANITOR_VARIABLE}`
  const deployed = parse(action, json)
  const unknown = deployed.find(
    ({ stream }) => !streams.some((given) => given.stream === stream || given.set === stream),
  )
  // no error: code may name its stream by a variable, as for a run by hand
  if (unknown)
    process.emitWarning(
      `${JANITOR_VARIABLE} has settings of stream ${quotedValue(unknown.stream)}, which createJanitor() does not trim`,
      'MillraceWarning',
    )
  const merged = streams.map((given) => {
    // what is said of a set holds for each of its streams, unless that has its own
    const own = deployed.find(({ stream }) => stream === given.stream)
    const { groups, stream: _stream, ...limits } = own ?? deployed.find(({ stream }) => stream === given.set) ?? {}
    if (!groups) return { ...given, ...limits }
    return { ...given, ...limits, groups: { ...given.groups, ...groups } }
  })
  return checkTendedStreams(action, merged)
}

function parse(action: string, json: string): readonly Partial<TendedStream>[] {
  let parsed: unknown
  try {
    parsed = JSON.parse(json)
  } catch {}
  if (!Array.isArray(parsed) || parsed.length === 0)
    throw wrongUseError(action, 'it must be a JSON array of { stream, … }, one per stream')
  for (const one of parsed) assertObject(action, 'every stream', one)
  return checkJanitorStreams(action, parsed as JanitorStream[])
}
