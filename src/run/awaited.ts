import { conditionOf } from '../core/condition.ts'
import type { Consumer } from '../define/consumer.ts'
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

/** Whether what an entry waits for is there by now: a route for its type and version, or one whose handler takes work. */
export function isRouted(condition: string, { routes }: Consumer, unavailable: ReadonlySet<Route>): boolean {
  const [, version] = /^newer-version (\d+) /.exec(condition) ?? []
  return [...routes].some(([type, route]) => {
    if (condition === heldBy(type)) return !unavailable.has(route)
    if (version === undefined) return condition === unrouted(type)
    return condition === newerVersion(type, Number(version)) && Number(version) <= route.event.version
  })
}

/** Whether the server decides by itself that what waits for it comes back. */
export function isServers(condition: string): boolean {
  return condition.startsWith('held ') || condition.startsWith('paused ')
}
