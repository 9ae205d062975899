import { isDeepStrictEqual } from 'node:util'
import { quotedValue } from '../../errors.ts'
import type { JanitorEventOptions, JanitorSettings } from '../janitor-event.ts'
import { encodeJanitorOverrides, resolveJanitorEvent } from '../janitor-event.ts'

type Functions = Readonly<Record<string, { readonly events?: readonly unknown[] }>>

/** A function with `redisJanitor` events: all its streams agree on what concerns it. */
export interface FunctionWithJanitors {
  readonly name: string
  readonly streams: readonly [JanitorSettings, ...JanitorSettings[]]
  /** What its environment says of them; `undefined`: nothing. */
  readonly overrides: string | undefined
}

/** What the streams of one janitor have to agree on. */
const OF_FUNCTION = [
  'schedule',
  'enabled',
  'logRetentionInDays',
  'parameters',
  'archiveBucket',
  'statements',
  'failedSchedules',
] as const

/**
 * The janitors of a service, in the order of its functions and their events.
 *
 * @param defaults What holds where an event says nothing.
 * @throws {TypeError | RangeError} An event that cannot be deployed; the message says where it stands, the rule and the value.
 */
export function readServiceJanitors(
  functions: Functions,
  defaults: Partial<JanitorEventOptions> = {},
): FunctionWithJanitors[] {
  const seen = new Map<string, string>()
  return Object.entries(functions).flatMap(([name, { events = [] }]) => {
    const streams = [...events.entries()].flatMap(([index, event]) => {
      const given = janitorOf(event)
      if (given === undefined) return []
      const path = `functions.${name}.events.${index}.redisJanitor`
      const settings = resolveJanitorEvent(`use ${path}`, { ...defaults, ...withoutNulls(given) })
      const other = seen.get(settings.stream)
      if (other !== undefined)
        throw new TypeError(
          `Cannot use ${path}: a stream must have one janitor, got ${quotedValue(settings.stream)} here and in ${other}`,
        )
      seen.set(settings.stream, path)
      return [{ path, settings }]
    })
    const [first, ...others] = streams
    if (first === undefined) return []
    for (const other of others) checkAgreement(first, other)
    const all = streams.map(({ settings }) => settings) as [JanitorSettings, ...JanitorSettings[]]
    return [{ name, streams: all, overrides: encodeJanitorOverrides(`use ${first.path}`, all) }]
  })
}

function checkAgreement(
  one: { readonly path: string; readonly settings: JanitorSettings },
  other: { readonly path: string; readonly settings: JanitorSettings },
): void {
  const name = OF_FUNCTION.find((option) => !isDeepStrictEqual(one.settings[option], other.settings[option]))
  if (name === undefined) return
  throw new TypeError(
    `Cannot use ${other.path}: ${name} must be the same for all streams of a janitor, and differs from ${one.path}`,
  )
}

function janitorOf(event: unknown): JanitorEventOptions | undefined {
  return (event as { redisJanitor?: JanitorEventOptions } | null)?.redisJanitor
}

/** A variable that resolves to nothing leaves `null`. */
function withoutNulls<T extends object>(given: T): T {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null)) as T
}
