import type { PolicyJob } from '../../define/policy.ts'
import type { CheckedPolicyDecision } from '../../run/checked-policy-decision.ts'
import type { PolicyRunInside } from '../../run/policy-engine.ts'
import type { BreakerRules } from './flow-rules.ts'
import type { GateAsker } from './gate-asker.ts'
import type { GateAnswer, GateOperation } from './gate-request.ts'
import type { KnownBreakers } from './known-breakers.ts'
import { knownTogether } from './known-together.ts'
import { parkForBreaker } from './set-aside.ts'
import type { WaitingJob } from './waiting-job.ts'

/** Failed calls of event types that have a circuit breaker: each is reported, and what becomes of its jobs hangs on the answer. */
export class FailureReports {
  readonly #inside: PolicyRunInside
  readonly #asker: GateAsker
  readonly #breakers: KnownBreakers
  /** Those that were not answered yet, by event type. */
  readonly #reporting: Map<string, number>
  readonly #calls = new WeakMap<object, PolicyJob[]>()

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
  failed(waiting: WaitingJob, rules: BreakerRules, error: unknown, call: object): CheckedPolicyDecision | 'later' {
    const { breakerType: type, job, isProbe } = waiting
    const others = this.#calls.get(call)
    const isShut = this.#breakers.isShut(type, this.#inside.time.clock.monotonic())
    if (isProbe) waiting.hasReported = true
    if (isShut && !isProbe && !others) {
      this.#inside.parts.report.limited('circuitOpen')
      return parkForBreaker(type)
    }
    if (!others) this.#report(waiting, rules, error, call)
    else {
      others.push(job)
      // the failure that was reported is another's of that call
      if (isProbe) this.#asker.add(this.#failureOf(waiting, rules, error))
    }
    return 'later'
  }

  #failureOf(
    { job, breakerType: eventType, probeId: entryId }: WaitingJob,
    rules: BreakerRules,
    error: unknown,
  ): GateOperation {
    const { failures, perMs, probeAfterMs } = rules
    const { deliveryCount } = job
    const failuresKey = this.#breakers.failuresKey(eventType)
    const counted = { member: `${entryId}:${deliveryCount}`, entryId, failures, perMs, probeAfterMs }
    return { op: 'failed', eventType, failuresKey, ...counted, error: nameOf(error) }
  }

  #report(waiting: WaitingJob, rules: BreakerRules, error: unknown, call: object): void {
    const { job, breakerType: eventType } = waiting
    const jobs = [job]
    this.#calls.set(call, jobs)
    this.#reporting.set(eventType, (this.#reporting.get(eventType) ?? 0) + 1)
    this.#asker.add(this.#failureOf(waiting, rules, error), (answer) => {
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
