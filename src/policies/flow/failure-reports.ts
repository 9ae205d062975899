import type { PolicyJob } from '../../define/policy.ts'
import type { CheckedPolicyDecision } from '../../run/checked-policy-decision.ts'
import type { FailedJob, PolicyRunInside } from '../../run/policy-engine.ts'
import type { BreakerRules } from './flow-rules.ts'
import type { GateAsker } from './gate-asker.ts'
import type { GateAnswer, GateOperation } from './gate-request.ts'
import type { KnownBreakers } from './known-breakers.ts'
import { knownTogether } from './known-together.ts'
import { parkForBreaker } from './set-aside.ts'
import type { WaitingJob } from './waiting-job.ts'

type Failure = Extract<GateOperation, { readonly op: 'failed' }>

/** Failed calls of event types that have a circuit breaker: each is reported, and what becomes of its jobs hangs on the answer. */
export class FailureReports {
  readonly #inside: PolicyRunInside
  readonly #asker: GateAsker
  readonly #breakers: KnownBreakers
  /** Those that were not answered yet, by event type. */
  readonly #reporting: Map<string, number>
  readonly #calls = new WeakMap<object, { readonly jobs: PolicyJob[]; readonly failure: Failure }>()

  constructor(inside: PolicyRunInside, asker: GateAsker, breakers: KnownBreakers) {
    this.#inside = inside
    this.#reporting = knownTogether(inside.parts, 'reporting')
    this.#asker = asker
    this.#breakers = breakers
  }

  /** Whether a failure of that event type was reported and not answered yet. */
  areReported(eventType: string): boolean {
    return this.#reporting.has(eventType)
  }

  /** @param call One failed call is one failure, however many jobs it had. @returns `'later'`: it is with the asker. */
  failed(
    waiting: WaitingJob,
    rules: BreakerRules,
    { error, call, isLast }: FailedJob,
  ): CheckedPolicyDecision | 'later' {
    const { breakerType: type, job, isProbe } = waiting
    const reported = this.#calls.get(call)
    const isShut = this.#breakers.isShut(type, this.#inside.time.clock.monotonic())
    if (isProbe) waiting.hasReported = true
    if (isShut && !isProbe && !reported) {
      this.#inside.parts.report.limited('circuitOpen')
      return parkForBreaker(type)
    }
    const failure = this.#failureOf(waiting, rules, error, isLast)
    if (!reported) this.#report(waiting, failure, call)
    else {
      reported.jobs.push(job)
      reported.failure.isLast ||= isLast
      // the failure that was reported is another's of that call
      if (isProbe) this.#asker.add(failure)
    }
    return 'later'
  }

  #failureOf(
    { job, breakerType: eventType, probeId: entryId }: WaitingJob,
    rules: BreakerRules,
    error: unknown,
    isLast: boolean,
  ): Failure {
    const { failures, perMs, probeAfterMs } = rules
    const { deliveryCount } = job
    const failuresKey = this.#breakers.failuresKey(eventType)
    const counted = { member: `${entryId}:${deliveryCount}`, entryId, failures, perMs, probeAfterMs }
    return { op: 'failed', eventType, failuresKey, ...counted, error: nameOf(error), isLast }
  }

  #report({ job, breakerType: eventType }: WaitingJob, failure: Failure, call: object): void {
    const jobs = [job]
    this.#calls.set(call, { jobs, failure })
    this.#reporting.set(eventType, (this.#reporting.get(eventType) ?? 0) + 1)
    this.#asker.add(failure, (answer) => {
      this.#calls.delete(call)
      this.#answered(eventType, jobs, answer)
    })
  }

  #answered(type: string, jobs: readonly PolicyJob[], answer: GateAnswer | undefined): void {
    const { parts, policies } = this.#inside
    const left = (this.#reporting.get(type) ?? 1) - 1
    if (left > 0) this.#reporting.set(type, left)
    else this.#reporting.delete(type)
    const isOpen = answer?.kind === 'breaker'
    if (isOpen) this.#breakers.opened(type, this.#asker.serverTime.surelyAt(answer.at))
    else this.#breakers.failed(type, this.#inside.time.clock.monotonic())
    for (const one of jobs) {
      if (isOpen) parts.report.limited('circuitOpen')
      policies.decide(one.entryId, isOpen ? parkForBreaker(type) : undefined)
    }
    parts.report.circuitsOpen(this.#breakers.openTypes)
  }
}

/** Of any value that was thrown. */
function nameOf(error: unknown): string {
  try {
    return String((error as Error | undefined)?.name ?? typeof error).slice(0, 100)
  } catch {
    return 'Error'
  }
}
