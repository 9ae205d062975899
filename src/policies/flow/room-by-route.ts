import type { Route } from '../../define/route.ts'
import type { PoliciesOfRun } from '../../run/policy-engine.ts'
import type { WaitingJob } from './waiting-job.ts'

/** Answers for one job after the other whether its route has room for it, beside those that are ready and those that were answered before. */
export function roomByRoute(policies: PoliciesOfRun, ready: readonly WaitingJob[]): (job: WaitingJob) => boolean {
  const rooms = new Map<Route, number>()
  return ({ route }) => {
    if (route?.concurrency === undefined) return true
    const left = rooms.get(route) ?? policies.room(route) - ready.filter((other) => other.route === route).length
    rooms.set(route, left - 1)
    return left > 0
  }
}
