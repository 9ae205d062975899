import type { Codec } from '../core/codec.ts'
import { envelopeCodec } from '../core/codec.ts'
import { assertAwaitableFunction } from '../core/handler-function.ts'
import type { ConsumerKeys } from '../core/keys.ts'
import { assertKnownKeys, assertKnownOptions, assertObject, assertText, wrongUseError } from '../core/options.ts'
import type { NamedWrap } from '../core/wrap.ts'
import { wrapHandler } from '../core/wrap.ts'
import { quotedValue } from '../errors.ts'
import type { ConsumerSettings, SettingOptions } from './consumer-settings.ts'
import { resolveConsumerKeys, resolveSettings, SETTING_NAMES } from './consumer-settings.ts'
import type { DelayPromoter } from './delay-promoter.ts'
import type { EventDefinition, EventOf } from './event.ts'
import { assertEventDefinition } from './event.ts'
import type { EventFilter } from './filter-patterns.ts'
import type { EventHandler, MiddyWrappedHandler } from './handler.ts'
import type { DeadLetterNotice } from './observe.ts'
import type { Policy, PolicyOnRoute, UsedPolicy } from './policy.ts'
import { checkPolicies, combinePolicies, limitMaxPollers } from './policy.ts'
import type { Route } from './route.ts'
import type { RouteOptions } from './route-options.ts'
import { ROUTE_OPTION_NAMES, resolveRouteRules } from './route-options.ts'
import type { BoundRoute, RouteBounds } from './route-settings.ts'
import { resolveRouteSettings, routeBounds } from './route-settings.ts'
import type { SetMembership, StreamSet } from './stream-set.ts'
import { isStreamSet } from './stream-set.ts'

/** Which stream and group, which handlers, and how to go about it. */
export interface ConsumerOptions extends SettingOptions {
  /** The stream's key. */
  readonly stream: string
  /** The consumer group's name. */
  readonly group: string
  /** One route an event type. What becomes of other types says `unrouted`. */
  readonly routes: readonly Route[]
  /** How entries are read. Default `envelopeCodec`, which reads what `publish` writes. */
  readonly codec?: Codec
  /**
   * Called, at most once, for every entry that became a dead letter, when the letter is written: a function of your own, or `notifyFunction(name)` of
   * `millrace/lambda`. Its failure is a warning of the process and changes nothing. At most 10 calls run side by side and 1,000 per run, each for
   * at most 5 s, and the run's end waits 10 s for them: then their `signal` is aborted. One warning counts all others.
   */
  readonly onDeadLetter?: OnDeadLetter
  /**
   * Which events are for this group at all, as `filterPatterns([…])` says: others are ignored, whatever their type, before their payload is lifted or
   * checked. A deployment's `filterPatterns` take its place. Default: all.
   */
  readonly filter?: EventFilter
  /** Policies of all routes, outside those that a route has itself. Default: none. */
  readonly use?: readonly Policy[]
  /** What brings delayed events of the stream into it when they are due, as `promoteDelays()` does. Default: nothing; the runs of another consumer may. */
  readonly delays?: DelayPromoter
}

/** As `ConsumerOptions`, for all streams of a set. */
export interface ConsumerSetOptions extends Omit<ConsumerOptions, 'stream'> {
  /** The streams, as `prioritized('jobs', ['high', 'low'])` says. */
  readonly stream: StreamSet
}

/** What a consumer calls with its dead letters. */
export type OnDeadLetter = (notice: DeadLetterNotice, context: { readonly signal: AbortSignal }) => unknown

/** A stream and a group bound to routes, with every option resolved. */
export interface Consumer {
  readonly stream: string
  readonly group: string
  readonly routes: ReadonlyMap<string, BoundRoute>
  readonly routeBounds: RouteBounds
  readonly codec: Codec
  readonly onDeadLetter: OnDeadLetter | undefined
  readonly filter: EventFilter | undefined
  readonly delays: DelayPromoter | undefined
  /** Something expires by the server's time, or is probed by it. */
  readonly asksTime: boolean
  /** Policies that do more than wrap, in the order in which they are asked. */
  readonly policies: readonly PolicyOnRoute[]
  readonly settings: ConsumerSettings
  readonly keys: ConsumerKeys
  /** Left out where the stream is of no set. */
  readonly set?: SetMembership
}

/** One consumer for each stream of a set, the highest priority first, which run together and are shown as one. */
export type ConsumerSet = readonly Consumer[]

/**
 * Binds an event type to the handler of one event: a plain function, or one that Middy wraps.
 *
 * @throws {TypeError | RangeError} No definition, no function, or one whose end nobody could wait for: with a callback, a generator, a class; a bad
 * option.
 */
export function on<Definition extends EventDefinition>(
  event: Definition,
  handler: EventHandler<EventOf<Definition>>,
  options?: RouteOptions<EventOf<Definition>>,
): Route
export function on<Definition extends EventDefinition>(
  event: Definition,
  handler: MiddyWrappedHandler<EventOf<Definition>>,
  options?: RouteOptions<EventOf<Definition>>,
): Route
export function on<Definition extends EventDefinition>(
  event: Definition,
  handler: (event: never, context: never) => unknown,
  options: RouteOptions<never> = {},
): Route {
  const action = 'define a route'
  assertEventDefinition(action, event)
  assertAwaitableFunction(action, `the handler of ${quotedValue(event.type)}`, handler, 'event, context')
  const name = `${action} for ${quotedValue(event.type)}`
  assertKnownOptions(name, options, ROUTE_OPTION_NAMES)
  return Object.freeze({ event, handler: handler as EventHandler<never>, ...resolveRouteRules(name, options) })
}

/**
 * Binds the streams of a set and a group of each to routes: makes one consumer a stream, with these settings, which run together.
 *
 * @throws {TypeError | RangeError} As below; also what cannot hold for several streams.
 */
export function defineConsumer(options: ConsumerSetOptions): ConsumerSet
/**
 * Binds a stream and a group to routes.
 *
 * @throws {TypeError | RangeError} A bad option, an unknown one, or two that do not go together; the message names the rule and the values.
 */
export function defineConsumer(options: ConsumerOptions): Consumer
export function defineConsumer(options: ConsumerOptions | ConsumerSetOptions): Consumer | ConsumerSet {
  assertNoConsumer(options as object)
  assertObject('define consumer', 'options', options)
  const set = options.stream
  return isStreamSet(set)
    ? set.consumers(options as ConsumerSetOptions, defineOne)
    : defineOne(options as ConsumerOptions)
}

/** @throws {TypeError} What was defined already, or was spread into options; of a set, its first one. */
function assertNoConsumer(options: (Partial<Consumer> & { readonly 0?: Partial<Consumer> }) | undefined | null): void {
  if (options?.routeBounds ?? options?.[0]?.routeBounds)
    throw wrongUseError(
      'define consumer',
      "options must be a consumer's options, got a consumer; change its options where it is defined",
    )
}

function defineOne(options: ConsumerOptions, set?: SetMembership): Consumer {
  const { stream, group, routes, codec = envelopeCodec, onDeadLetter, filter, use, delays, ...rest } = options
  const action = `define consumer ${quotedValue(group)} on stream ${quotedValue(stream)}`
  assertText(action, 'stream', stream)
  assertText(action, 'group', group)
  assertKnownKeys(action, options, [
    'stream',
    'group',
    'routes',
    'codec',
    'onDeadLetter',
    'filter',
    'use',
    'delays',
    ...SETTING_NAMES,
  ])
  if (typeof codec?.decode !== 'function') throw wrongUseError(action, 'codec must have a decode function')
  const { typeField } = codec
  if (typeField !== undefined) assertText(action, 'codec.typeField', typeField)
  if (onDeadLetter !== undefined) assertAwaitableFunction(action, 'onDeadLetter', onDeadLetter, 'notice, { signal }')
  if (filter !== undefined && typeof filter?.matches !== 'function')
    throw wrongUseError(action, 'filter must come from filterPatterns([…])')
  if (delays !== undefined && typeof delays?.promote !== 'function')
    throw wrongUseError(action, 'delays must come from promoteDelays()')
  const settings = resolveSettings(action, rest)
  const own = checkPolicies(action, use)
  const byType = routesByType(action, routes, settings)
  const bound = boundPolicies(own, byType)
  const ownKeys = resolveConsumerKeys(action, stream, group, rest.deadLetters)
  const keys = set ? set.shareGates(ownKeys, group) : ownKeys
  return Object.freeze({
    stream,
    group,
    codec,
    onDeadLetter,
    filter,
    delays,
    asksTime: asksTime([settings, ...byType.values()], bound),
    ...combinePolicies(action, bound, { keys, typeField, settings, routes: byType }),
    settings: Object.freeze({
      ...settings,
      maxPollers: limitMaxPollers(action, settings.maxPollers, rest.maxPollers, bound),
    }),
    keys,
    routes: wrapRoutes(own, byType),
    routeBounds: routeBounds(byType),
    ...(set && { set }),
  })
}

/** What expires does so by the server's time; a circuit breaker is probed by it. */
function asksTime(
  limits: readonly { readonly maxAgeMs?: number | undefined }[],
  bound: readonly PolicyOnRoute[],
): boolean {
  return (
    limits.some(({ maxAgeMs = Infinity }) => maxAgeMs < Infinity) ||
    bound.some(({ policy }) => policy.kind === 'breaker')
  )
}

function boundPolicies(own: readonly UsedPolicy[], routes: ReadonlyMap<string, Route>): readonly PolicyOnRoute[] {
  return [
    ...own.map((policy) => ({ policy, eventType: undefined })),
    ...[...routes].flatMap(([eventType, { use = [] }]) => use.map((policy) => ({ policy, eventType }))),
  ]
}

/** Puts the wraps of consumer and route around each handler. */
function wrapRoutes(
  own: readonly UsedPolicy[],
  routes: ReadonlyMap<string, BoundRoute>,
): ReadonlyMap<string, BoundRoute> {
  return new Map(
    [...routes].map(([type, route]) => {
      const wraps = [...own, ...(route.use ?? [])].filter(({ wrap }) => wrap)
      if (wraps.length === 0) return [type, route]
      return [type, Object.freeze({ ...route, wrapped: wrapHandler(route.handler as never, wraps as NamedWrap[]) })]
    }),
  )
}

function routesByType(
  action: string,
  routes: readonly Route[],
  settings: ConsumerSettings,
): ReadonlyMap<string, BoundRoute> {
  if (!Array.isArray(routes) || routes.length === 0) {
    throw wrongUseError(action, 'routes must be an array with at least one route, as on(Event, handler)')
  }
  const byType = new Map<string, BoundRoute>()
  for (const route of routes as readonly Route[]) {
    if (typeof route?.handler !== 'function' || !route.event)
      throw wrongUseError(action, 'every route must come from on or onBatch')
    const { type } = route.event
    const other = byType.get(type)
    if (other)
      throw wrongUseError(
        action,
        `event type ${quotedValue(type)} must have one route, got two${
          other.event.version === route.event.version
            ? ''
            : ': for older payloads give the newest definition its version and upcast, and route that alone'
        }`,
      )
    byType.set(type, Object.freeze({ ...route, settings: resolveRouteSettings(action, route, settings) }))
  }
  return byType
}
