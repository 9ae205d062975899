import type { PolicyRun } from '../define/policy.ts'
import { RUN_INSIDE } from '../define/policy.ts'
import type { PolicyRunInside } from '../run/policy-engine.ts'

/** What a policy is shown of a run. @param eventType Of the route that it is used on. */
export function policyRun(inside: PolicyRunInside, eventType: string | undefined): PolicyRun {
  const { parts, time, policies } = inside
  const { stream, group, keys, settings } = parts.consumer
  return {
    action: parts.action,
    stream,
    group,
    keys,
    consumerName: parts.slot.consumerName,
    eventType,
    settings,
    countUnguarded: () => parts.report.unguarded(),
    now: () => time.clock.now(),
    remainingMs: () => Math.max(0, time.waitableMs()),
    resume: () => policies.resume(),
    [RUN_INSIDE]: inside,
  }
}
