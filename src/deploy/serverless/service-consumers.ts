import { isDeepStrictEqual } from 'node:util'
import { quotedValue } from '../../errors.ts'
import type { EventSourceSettings, RedisStreamEvent } from '../event-source.ts'
import { resolveEventSource } from '../event-source.ts'

/** A function as serverless.yml has it; only what is read of it. */
interface ConfiguredFunction {
  readonly events?: readonly unknown[]
}

/** A `redisStream` event of a service, checked. */
export interface ServiceConsumer {
  /** Where it stands, as in `functions.ordersPoller.events.0.redisStream`. */
  readonly path: string
  /** Names of the two functions. */
  readonly poller: string
  readonly claimer: string
  readonly settings: EventSourceSettings
}

/** A function of the service with what its consumers want of it. */
export interface FunctionWithConsumers {
  readonly name: string
  readonly part: 'poller' | 'claimer'
  /** All that share it agree on what concerns it. */
  readonly consumers: readonly [EventSourceSettings, ...EventSourceSettings[]]
}

type Functions = Readonly<Record<string, ConfiguredFunction>>

/** What the consumers of one function have to agree on, by the option's name. */
const OF_FUNCTION: Readonly<Record<'poller' | 'claimer', (settings: EventSourceSettings) => Record<string, unknown>>> =
  {
    poller: (settings) => ({
      ...ofBoth(settings),
      pollers: settings.pollers,
      'reservedConcurrency.poller': settings.reservedConcurrency.poller,
      'parameters.poller': settings.parameters.poller,
    }),
    claimer: (settings) => ({
      ...ofBoth(settings),
      'reservedConcurrency.claimer': settings.reservedConcurrency.claimer,
      'parameters.claimer': settings.parameters.claimer,
    }),
  }

/**
 * The consumers of a service, in the order of its functions and their events.
 *
 * @param defaults What holds where an event says nothing.
 * @throws {TypeError | RangeError} An event that cannot be deployed; the message says where it stands, the rule and the value.
 */
export function readServiceConsumers(
  functions: Functions,
  defaults: Partial<RedisStreamEvent> = {},
): ServiceConsumer[] {
  const consumers: ServiceConsumer[] = []
  for (const [poller, { events = [] }] of Object.entries(functions)) {
    for (const [index, event] of events.entries()) {
      const given = redisStreamOf(event)
      if (given === undefined) continue
      const path = `functions.${poller}.events.${index}.redisStream`
      const { claimer, ...options } = { ...defaults, ...withoutNulls(given) }
      checkClaimer(path, claimer, functions)
      const consumer = { path, poller, claimer, settings: resolveEventSource(`use ${path}`, options) }
      for (const other of consumers) checkTogether(consumer, other)
      consumers.push(consumer)
    }
  }
  return consumers
}

/** Each function once, with all its consumers. */
export function groupConsumersByFunction(consumers: readonly ServiceConsumer[]): FunctionWithConsumers[] {
  return (['poller', 'claimer'] as const).flatMap((part) => {
    const byName = Map.groupBy(consumers, (consumer) => consumer[part])
    return [...byName].map(([name, sharing]) => ({
      name,
      part,
      consumers: sharing.map(({ settings }) => settings) as [EventSourceSettings, ...EventSourceSettings[]],
    }))
  })
}

function redisStreamOf(event: unknown): RedisStreamEvent | undefined {
  return (event as { redisStream?: RedisStreamEvent } | null)?.redisStream
}

/** A variable that resolves to nothing leaves `null`. */
function withoutNulls<T extends object>(given: T): T {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== null)) as T
}

function checkClaimer(path: string, claimer: string, functions: Functions): void {
  if (!Object.hasOwn(functions, claimer)) {
    const names = Object.keys(functions).join(', ')
    throw new TypeError(
      `Cannot use ${path}: claimer must name a function of this service, got ${quotedValue(claimer)}; there are ${names}`,
    )
  }
  if (functions[claimer]?.events?.some((event) => redisStreamOf(event) !== undefined)) {
    throw new TypeError(
      `Cannot use ${path}: claimer must name a function that polls nothing, got ${quotedValue(claimer)}, which has a redisStream event`,
    )
  }
}

function checkTogether(consumer: ServiceConsumer, other: ServiceConsumer): void {
  const { stream, group } = consumer.settings
  if (stream === other.settings.stream && group === other.settings.group) {
    throw new TypeError(
      `Cannot use ${consumer.path}: group must be used once for a stream, got ${quotedValue(group)} here and in ${other.path}`,
    )
  }
  for (const part of ['poller', 'claimer'] as const) {
    if (consumer[part] === other[part]) checkAgreement(part, consumer, other)
  }
}

/** A function has one role and one set of schedules, whichever of its consumers asks for them. */
function checkAgreement(part: 'poller' | 'claimer', consumer: ServiceConsumer, other: ServiceConsumer): void {
  const others = OF_FUNCTION[part](other.settings)
  for (const [name, value] of Object.entries(OF_FUNCTION[part](consumer.settings))) {
    if (isDeepStrictEqual(value, others[name])) continue
    throw new TypeError(
      `Cannot use ${consumer.path}: ${name} must be the same for all consumers of function ${quotedValue(consumer[part])}, got ` +
        `${show(value)} here and ${show(others[name])} in ${other.path}`,
    )
  }
}

function ofBoth(settings: EventSourceSettings): Record<string, unknown> {
  const { schedule, enabled, logRetentionInDays, targets, statements, failedSchedules } = settings
  return { schedule, enabled, logRetentionInDays, targets, statements, failedSchedules }
}

function show(value: unknown): string {
  return value === undefined ? 'none' : JSON.stringify(value)
}
