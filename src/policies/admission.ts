import { HandlerTimeoutError, RedisConnectionError } from '../errors.ts'
import type { CheckedPolicyDecision } from '../run/checked-policy-decision.ts'
import { policyDecisionOutcome } from '../run/checked-policy-decision.ts'
import { hasOutcome } from '../run/entry-in-hand.ts'
import type { Job } from '../run/job.ts'
import type { Run } from '../run/run.ts'
import { RunningCall } from '../run/running-call.ts'

/**
 * Lets policies decide about what was read or started, before it waits for its call: all of it is decoded, then asked about in one request, then
 * decided. What is not to be called has its outcome afterwards.
 */
export async function letPoliciesDecide(
  run: Run,
  jobs: readonly Job[],
  decide: (ready: readonly Job[]) => Promise<ReadonlyMap<Job, CheckedPolicyDecision>>,
): Promise<void> {
  const { settler, time } = run
  await prepareAll(run, jobs)
  const ready = jobs.filter((job) => job.prepared && !hasOutcome(job))
  try {
    const decisions = await decide(ready)
    for (const [job, decision] of decisions) job.outcome = policyDecisionOutcome(decision, job, time.clock.now())
  } catch (error) {
    // what could not be decided is not called, and nothing more is read
    for (const job of ready) if (!hasOutcome(job)) job.release()
    time.stop()
    if (error instanceof RedisConnectionError) throw error
    settler.note(error as Error)
  }
}

/** Decodes all; a schema that is asynchronous has the handler's time. */
async function prepareAll(run: Run, jobs: readonly Job[]): Promise<void> {
  const { clock } = run.time
  const now = clock.monotonic()
  const { longestTimeoutMs } = run.parts.consumer.routeBounds
  const waiting: { readonly call: RunningCall; readonly preparing: PromiseLike<void> }[] = []
  for (const job of jobs) {
    const call = new RunningCall([job], now, false)
    try {
      const preparing = call.prepare()
      if (preparing) waiting.push({ call, preparing })
    } catch (error) {
      call.fail(error)
    }
  }
  if (waiting.length === 0) return
  const late = Promise.withResolvers<'late'>()
  const cancel = clock.after(longestTimeoutMs, () => late.resolve('late'))
  await Promise.all(
    waiting.map(async ({ call, preparing }) => {
      const end = Promise.resolve(preparing).catch((error: unknown) => {
        if (!call.isExpired) call.fail(error)
      })
      if ((await Promise.race([end, late.promise])) !== 'late') return
      call.expire(new HandlerTimeoutError(longestTimeoutMs))
      void end.then(() => call.forget())
    }),
  )
  cancel()
}
