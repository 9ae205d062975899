import type { Decision, RunPolicy } from '../define/policy.ts'
import type { CheckedPolicyDecision, DecidableJob } from '../run/checked-policy-decision.ts'
import { checkPolicyDecision } from '../run/checked-policy-decision.ts'
import type { PolicyAtWork } from './decide-about.ts'
import { appliesTo } from './decide-about.ts'
import { assertNotPromise, policyHookError } from './hook-answers.ts'

const NOTHING_DECIDED: ReadonlyMap<string, CheckedPolicyDecision> = new Map()

/** The hooks that are called for each job. No closure is made for such a call: ten thousand jobs a second would be kept longer by theirs. */
export class JobHooks {
  readonly #all: readonly PolicyAtWork[]
  readonly #fail: (error: Error) => void
  /** Some are of a route. */
  readonly #isOfRoutes: boolean

  /** @param fail Ends the run with that error: a hook threw. */
  constructor(all: readonly PolicyAtWork[], fail: (error: Error) => void) {
    this.#all = all
    this.#fail = fail
    this.#isOfRoutes = all.some(({ eventType }) => eventType !== undefined)
  }

  /** Those that a job is shown to. */
  of(job: DecidableJob): readonly PolicyAtWork[] {
    return this.#isOfRoutes ? this.#all.filter((one) => appliesTo(one, job)) : this.#all
  }

  /** Whether one of them has it wait. What a failing hook cannot say waits for the end of the run, which is near. */
  holds(job: DecidableJob): boolean {
    for (const one of this.of(job)) if (this.#call(one, 'holds', true, job) === true) return true
    return false
  }

  started(job: DecidableJob): void {
    for (const one of this.of(job)) this.#call(one, 'started', undefined, job)
  }

  /** @returns What becomes of others, by their ids. */
  ended(job: DecidableJob, isDone: boolean): ReadonlyMap<string, CheckedPolicyDecision> {
    let decisions: Map<string, CheckedPolicyDecision> | undefined
    for (const one of this.of(job)) {
      const others = this.#call(one, 'ended', undefined, job, isDone)
      if (!others) continue
      decisions ??= new Map()
      this.#note(decisions, others, one.name)
    }
    return decisions ?? NOTHING_DECIDED
  }

  #note(decisions: Map<string, CheckedPolicyDecision>, others: ReadonlyMap<string, Decision>, policy: string): void {
    try {
      for (const [id, other] of others) {
        const decision = checkPolicyDecision(other, policy)
        if (decision && !decisions.has(id)) decisions.set(id, decision)
      }
    } catch (error) {
      this.#fail(policyHookError(policy, error))
    }
  }

  #call<Hook extends 'holds' | 'started' | 'ended', Fallback>(
    { name, hooks }: PolicyAtWork,
    hook: Hook,
    fallback: Fallback,
    job: DecidableJob,
    isDone = false,
  ): ReturnType<NonNullable<RunPolicy[Hook]>> | Fallback | undefined {
    try {
      return assertNotPromise(hooks[hook]?.(job, isDone)) as ReturnType<NonNullable<RunPolicy[Hook]>> | undefined
    } catch (error) {
      this.#fail(policyHookError(name, error))
      return fallback
    }
  }
}
