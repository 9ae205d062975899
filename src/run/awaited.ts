import { formatCondition, parseCondition } from '../core/condition.ts'
import type { Consumer } from '../define/consumer.ts'
import type { EventDefinition } from '../define/event.ts'
import type { Route } from '../define/route.ts'

/** What an entry waits for whose handler takes no work now. */
export function noWorkCondition(type: string): string {
  return formatCondition('held', type)
}

/** What an entry waits for that no route knows the type of. */
export function unroutedCondition(type: string): string {
  return formatCondition('unrouted', type)
}

/** What an entry waits for that is of a newer version than its route knows. */
export function newerVersionCondition(type: string, version: number): string {
  return formatCondition('newer-version', `${version} ${type}`)
}

/**
 * Whether what an entry waits for is there by now: a route for its type and version, or one whose handler takes work; or nothing waits for that any more, since the
 * consumer says something else of such entries.
 */
export function isThere(condition: string, { routes, settings }: Consumer, unavailable: ReadonlySet<Route>): boolean {
  const types = [...routes.keys()]
  switch (parseCondition(condition).reason) {
    case 'held':
      return ![...unavailable].some(({ event }) => condition === noWorkCondition(event.type))
    case 'unrouted':
      return settings.unrouted !== 'park' || types.some((type) => condition === unroutedCondition(type))
    case 'newer-version':
      return settings.newerVersion !== 'park' || [...routes.values()].some(({ event }) => isKnown(condition, event))
    default:
      return false
  }
}

function isKnown(condition: string, { type, version }: EventDefinition): boolean {
  const waits = Number(/^newer-version (\d+) /.exec(condition)?.[1])
  return waits <= version && condition === newerVersionCondition(type, waits)
}

/** Whether the server decides by itself that what waits for it comes back. */
export function isDecidedByServer(condition: string): boolean {
  return condition.startsWith('held ') || condition.startsWith('paused ')
}
