import type { CheckedPolicyDecision } from '../run/checked-policy-decision.ts'
import type { Job } from '../run/job.ts'

/** Adds to decisions about jobs what policies decide about others once they hear of them, and so on. @param ended Has policies hear of one. */
export function hearOfDecisions(
  decisions: Map<Job, CheckedPolicyDecision>,
  jobs: readonly Job[],
  ended: (job: Job) => ReadonlyMap<string, CheckedPolicyDecision>,
): void {
  if (decisions.size === 0) return
  const byId = new Map(jobs.map((job) => [job.id, job]))
  for (const [job] of decisions)
    for (const [id, decision] of ended(job)) {
      const other = byId.get(id)
      if (other && !decisions.has(other)) decisions.set(other, decision)
    }
}
