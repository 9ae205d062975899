import { assertKnownKeys, wrongUseError } from '../core/options.ts'
import type { Consumer } from '../define/consumer.ts'
import type { RunOverrides } from '../define/consumer-settings.ts'
import { overrideSettings, RUN_OVERRIDE_NAMES } from '../define/consumer-settings.ts'
import type { EventFilter } from '../define/filter-patterns.ts'
import { quotedValue } from '../errors.ts'
import type { Connection } from '../group/connection.ts'
import { limitSettings } from './limits.ts'

/** Where the deployment says what its event sources set: JSON, an array with one object a consumer, `{ stream, group, batchSize, … }`. */
export const EVENT_SOURCE_VARIABLE = 'MILLRACE_EVENT_SOURCE'

/**
 * The consumers of a function with what its deployment sets: the template has the last word, as it has for AWS's own event sources.
 *
 * @throws {TypeError | RangeError} The variable is not JSON of that form, or a value is out of range.
 */
export function applyDeployedSettings(
  consumers: readonly Consumer[],
  env: NodeJS.ProcessEnv,
  redis?: Connection,
): readonly Consumer[] {
  const json = env[EVENT_SOURCE_VARIABLE]
  if (!json) return consumers
  const action = `read ${EVENT_SOURCE_VARIABLE}`
  const sources = parse(action, json)
  return consumers.map((consumer) => {
    const own = sources.filter(({ group }) => group === consumer.group)
    // what is said of a set holds for each of its streams, unless that has its own
    const source =
      own.find(({ stream }) => stream === consumer.stream) ?? own.find(({ stream }) => stream === consumer.set?.name)
    if (!source) return consumer
    const { stream: _stream, group: _group, filterPatterns, ...overrides } = source
    return {
      ...consumer,
      filter: filterPatterns === undefined ? consumer.filter : filterOf(action, consumer, filterPatterns),
      settings: limitSettings(action, consumer, overrideSettings(action, consumer.settings, overrides), redis),
    }
  })
}

type EventSource = {
  readonly stream: string
  readonly group: string
  readonly filterPatterns?: unknown
} & RunOverrides

/** The code of a filter comes with the consumer's own: who uses none is deployed without. */
function filterOf(action: string, { filter, group }: Consumer, patterns: unknown): EventFilter {
  if (filter) return filter.with(action, patterns)
  throw wrongUseError(action, `filterPatterns need filter: filterPatterns() in the code of group ${quotedValue(group)}`)
}

function parse(action: string, json: string): readonly EventSource[] {
  const sources = parsed(json)
  if (!Array.isArray(sources) || !sources.every((source) => source?.stream && source.group))
    throw wrongUseError(action, 'it must be a JSON array of { stream, group, … }, one per consumer')
  for (const source of sources as EventSource[])
    assertKnownKeys(action, source, ['stream', 'group', 'filterPatterns', ...RUN_OVERRIDE_NAMES])
  return sources as EventSource[]
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return undefined
  }
}
