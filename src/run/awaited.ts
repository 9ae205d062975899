import { conditionOf, partsOf } from '../core/condition.ts'
import type { Consumer } from '../define/consumer.ts'
import type { EventDefinition } from '../define/event.ts'
import type { Route } from '../define/route.ts'

/** What an entry waits for whose handler takes no work now. */
export function heldBy(type: string): string {
  return conditionOf('held', type)
}

/** What an entry waits for that no route knows the type of. */
export function unrouted(type: string): string {
  return conditionOf('unrouted', type)
}

/** What an entry waits for that is of a newer version than its route knows. */
export function newerVersion(type: string, version: number): string {
  return conditionOf('newer-version', `${version} ${type}`)
}

/**
 * Whether what an entry waits for is there by now: a route for its type and version, or one whose handler takes work; or nothing waits for that any more, since the
 * consumer says something else of such entries.
 */
export function isThere(condition: string, { routes, settings }: Consumer, unavailable: ReadonlySet<Route>): boolean {
  const types = [...routes.keys()]
  switch (partsOf(condition).reason) {
    case 'held':
      return ![...unavailable].some(({ event }) => condition === heldBy(event.type))
    case 'unrouted':
      return settings.unrouted !== 'park' || types.some((type) => condition === unrouted(type))
    case 'newer-version':
      return settings.newerVersion !== 'park' || [...routes.values()].some(({ event }) => isKnown(condition, event))
    default:
      return false
  }
}

function isKnown(condition: string, { type, version }: EventDefinition): boolean {
  const waits = Number(/^newer-version (\d+) /.exec(condition)?.[1])
  return waits <= version && condition === newerVersion(type, waits)
}

/** Whether the server decides by itself that what waits for it comes back. */
export function isServers(condition: string): boolean {
  return condition.startsWith('held ') || condition.startsWith('paused ')
}
