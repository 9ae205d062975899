import { withDefaults, wrongUseError } from '../core/options.ts'
import { quotedValue } from '../errors.ts'
import { resolveBackoff } from './backoff-options.ts'
import type { ConsumerSettings, RouteSettings } from './consumer-settings.ts'
import { IDLE_MARGIN_MS } from './consumer-settings.ts'
import type { Route } from './route.ts'

/** A route of a consumer. */
export interface BoundRoute extends Route {
  /** Its own, or its consumer's. */
  readonly settings: RouteSettings
}

/** How far apart the settings of a consumer's routes lie: what is decided before the type of an entry is known goes by these. */
export interface RouteBounds {
  readonly shortestTimeoutMs: number
  readonly longestTimeoutMs: number
  /** The route that has that, where it is the route's own. */
  readonly longestType: string | undefined
  readonly fewestDeliveries: number
  readonly mostDeliveries: number
}

/**
 * The settings of a route: its own over its consumer's. One that has none of its own has the consumer's, the very object.
 *
 * @throws {TypeError | RangeError} Its own do not go with the rest; the message names the rule and the values.
 */
export function resolveRouteSettings(action: string, route: Route, settings: ConsumerSettings): RouteSettings {
  const { handlerTimeoutMs, maxDeliveries, backoff } = route
  const hasOwn = [handlerTimeoutMs, maxDeliveries, backoff].some((value) => value !== undefined)
  const own: RouteSettings = hasOwn
    ? Object.freeze(
        withDefaults<RouteSettings>(
          {
            handlerTimeoutMs: settings.handlerTimeoutMs,
            maxDeliveries: settings.maxDeliveries,
            backoff: resolveBackoff(action, backoff, settings.backoff),
          },
          { handlerTimeoutMs, maxDeliveries },
        ),
      )
    : settings
  checkRelations(action, route, own, settings)
  return own
}

export function routeBounds(routes: ReadonlyMap<string, BoundRoute>): RouteBounds {
  const all = [...routes.values()]
  const timeouts = all.map(({ settings }) => settings.handlerTimeoutMs)
  const deliveries = all.map(({ settings }) => settings.maxDeliveries)
  const longestTimeoutMs = Math.max(...timeouts)
  return Object.freeze({
    shortestTimeoutMs: Math.min(...timeouts),
    longestTimeoutMs,
    longestType: all.find(({ handlerTimeoutMs }) => handlerTimeoutMs === longestTimeoutMs)?.event.type,
    fewestDeliveries: Math.min(...deliveries),
    mostDeliveries: Math.max(...deliveries),
  })
}

/** @throws {RangeError} The message names the rule and the values. */
function checkRelations(action: string, route: Route, own: RouteSettings, settings: ConsumerSettings): void {
  const type = quotedValue(route.event.type)
  const refuse = (rule: string) => {
    throw wrongUseError(action, rule, RangeError)
  }
  // what may kill the process while it is not renewed has to end before it is claimed
  if (!settings.allowLongHandlers && own.handlerTimeoutMs > settings.minIdleMs - IDLE_MARGIN_MS)
    refuse(
      `handlerTimeoutMs of ${type} must be <= minIdleMs - ${IDLE_MARGIN_MS}, got handlerTimeoutMs ${own.handlerTimeoutMs} and minIdleMs ` +
        `${settings.minIdleMs}; or set allowLongHandlers: true if handlers may outlast minIdleMs`,
    )
  // what a remote function may take is part of what minIdleMs has to outlast
  const { timeoutMs } = route.handler as { readonly timeoutMs?: unknown }
  if (typeof timeoutMs === 'number' && timeoutMs > own.handlerTimeoutMs)
    refuse(
      `timeoutMs of the function for ${type} must be <= handlerTimeoutMs, got timeoutMs ${timeoutMs} ` +
        `and handlerTimeoutMs ${own.handlerTimeoutMs}`,
    )
  if (route.concurrency !== undefined && route.concurrency > settings.concurrency)
    refuse(`concurrency of ${type} must be <= the consumer's, got ${route.concurrency} and ${settings.concurrency}`)
  if (route.batching?.bisectOnError && own.maxDeliveries < 2)
    refuse(
      `maxDeliveries must be >= 2 where batches of ${type} are bisected, got ${own.maxDeliveries}: there is no second delivery in parts`,
    )
}
