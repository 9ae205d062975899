import { parseCondition } from '../core/condition.ts'
import type { ConsumerKeys } from '../core/keys.ts'
import { wrongUseError } from '../core/options.ts'
import type { Outcome } from '../core/outcome.ts'
import { ACK_OUTCOME } from '../core/outcome.ts'
import type { Decision, PolicyCommand, PolicyMarker, RunPolicy } from '../define/policy.ts'
import { quotedValue } from '../errors.ts'
import type { StartGuardKey, TakeScripts } from '../group/group.ts'
import type { CallPool } from '../run/call-pool.ts'
import type { CheckedPolicyDecision, DecidableJob } from '../run/checked-policy-decision.ts'
import { checkMarker, checkPolicyDecision, policyDecisionOutcome } from '../run/checked-policy-decision.ts'
import type { DueBesideReads } from '../run/feed/due-beside-reads.ts'
import type { Job } from '../run/job.ts'
import type { RunParts } from '../run/parts.ts'
import type {
  CameBack,
  CommandsAlongRequest,
  FailedCall,
  GateOfRun,
  OrderOfRun,
  PoliciesOfRun,
  PolicyRunInside,
  PolledConditions,
} from '../run/policy-engine.ts'
import type { JobsOfPolicies, PoolOfPolicies } from '../run/pool-policies.ts'
import type { Run } from '../run/run.ts'
import type { RunTime } from '../run/time.ts'
import { letPoliciesDecide } from './admission.ts'
import type { PolicyAtWork } from './decide-about.ts'
import { appliesTo, decideAbout } from './decide-about.ts'
import { DueByPolicies } from './due-beside-reads.ts'
import { hearOfDecisions } from './hear-of-decisions.ts'
import { HeldJobs } from './held-jobs.ts'
import {
  assertNotPromise,
  callPolicyHook,
  checkHookLimit,
  checkHookTime,
  checkRunHooks,
  policyHookError,
} from './hook-answers.ts'
import { checkJoinedCommands, checkPolicyCommands } from './policy-commands.ts'
import { policyRun } from './policy-run.ts'

const NOTHING_DECIDED: ReadonlyMap<string, CheckedPolicyDecision> = new Map()

/** In place of what a hook that threw would have answered. */
const FAILED = Symbol('failed')

/** Hooks that are of the whole consumer. */
const OF_CONSUMER = ['limit', 'riders', 'answered', 'inspect', 'dueAt'] as const

/** The policies of a consumer at work in one run. */
export class RunPolicies implements PoliciesOfRun {
  resume: () => void = () => {}
  decide: PoliciesOfRun['decide'] = () => {}
  room: PoliciesOfRun['room'] = () => 0
  readonly guards: readonly StartGuardKey[]
  readonly inspects: boolean
  readonly holds: boolean
  readonly follows: boolean
  /** Something is asked or decided about what was read, before it waits for its call. */
  readonly #admits: boolean
  /** Some of them are of a route. */
  readonly #isOfRoutes: boolean
  /** Something joins what acknowledges. */
  readonly #joins: boolean
  readonly #time: RunTime
  readonly #keys: ConsumerKeys
  readonly #fail: (error: Error) => void
  readonly #all: readonly PolicyAtWork[]
  readonly #gate: GateOfRun | undefined
  readonly #order: OrderOfRun | undefined

  constructor(parts: RunParts, time: RunTime, fail: (error: Error) => void) {
    const { consumer } = parts
    const { keys } = consumer
    const inside: PolicyRunInside = { parts, time, policies: this, fail }
    this.#time = time
    this.#keys = keys
    this.#fail = fail
    this.#all = consumer.policies.flatMap(({ policy, eventType }) => {
      const { name, begin } = policy
      const hooks = this.#safely(name, undefined, () => begun(begin?.(policyRun(inside, eventType)), eventType))
      return hooks ? [{ name, hooks, eventType }] : []
    })
    this.guards = consumer.policies.flatMap(({ policy }) => {
      const guard = this.#safely(policy.name, undefined, () => policy.guard?.(keys))
      return guard ? [{ key: guard.key, holds: guard.holds === 'all' ? 'all' : 'values' } as const] : []
    })
    this.#gate = inside.gate
    this.#order = inside.order
    this.holds = this.#gate !== undefined || this.#has('holds')
    this.inspects = this.#has('inspect')
    this.#isOfRoutes = this.#all.some((one) => one.eventType !== undefined)
    this.#joins = this.#has('joins') || this.#has('marks')
    this.follows = this.holds || this.#has('ended')
    // whoever is shown a job is shown its event
    this.#admits = this.follows || this.#has('admit') || this.#has('questions') || this.#has('started')
  }

  jobsOf(pool: PoolOfPolicies): JobsOfPolicies {
    return new HeldJobs(pool)
  }

  dueOf(run: Run, pool: CallPool): DueBesideReads {
    return new DueByPolicies(run, pool, this, this.#gate?.setsAsideForTurns === true || this.#order !== undefined)
  }

  get conditions(): PolledConditions | undefined {
    return this.#order ? this.#order.conditionsWith(this.#gate?.conditions) : this.#gate?.conditions
  }

  get takeScripts(): TakeScripts | undefined {
    return this.#gate?.takeScripts
  }

  limit(most: number): number {
    let limit = most
    for (const { name, hooks } of this.#all)
      if (hooks.limit)
        limit = Math.min(
          limit,
          this.#safely(name, 0, () => checkHookLimit(assertNotPromise(hooks.limit?.()))),
        )
    return limit
  }

  ride(): CommandsAlongRequest {
    const asked = this.#all.map(({ name, hooks }) => ({
      name,
      hooks,
      commands: this.#safely(name, [], () => checkPolicyCommands(this.#keys, assertNotPromise(hooks.riders?.()) ?? [])),
    }))
    const gated = this.#gate?.riders() ?? []
    return {
      riders: [...gated, ...asked.flatMap(({ commands }) => commands)],
      answered: (replies) => {
        let at = gated.length
        if (at > 0) this.#safely('circuitBreaker', undefined, () => this.#gate?.answered(replies.slice(0, at)))
        for (const { name, hooks, commands } of asked) {
          const own = replies.slice(at, at + commands.length)
          at += commands.length
          if (commands.length > 0) this.#safely(name, undefined, () => hooks.answered?.(own))
        }
      },
    }
  }

  inspect(job: DecidableJob, now: number): void {
    for (const { name, hooks } of this.#all) {
      if (job.outcome) return
      const decision = this.#safely(name, FAILED, () =>
        checkPolicyDecision(assertNotPromise(hooks.inspect?.(job)), name),
      )
      if (decision === FAILED) job.release()
      else if (decision) job.outcome = policyDecisionOutcome(decision, job, now)
    }
  }

  async admit(jobs: readonly Job[]): Promise<void> {
    const [job] = jobs
    if (!job || !this.#admits) return
    const { group } = job.run.parts
    await letPoliciesDecide(job.run, jobs, async (ready) => {
      this.#order?.register(jobs)
      const decisions = await decideAbout(this.#all, this.#keys, ready, (commands) => group.ask(commands))
      this.#hearOf(decisions, ready)
      return decisions
    })
  }

  /** Policies hear of what others decided, and may decide about what hangs on it, and so on. */
  #hearOf(decisions: Map<Job, CheckedPolicyDecision>, jobs: readonly Job[]): void {
    if (!this.follows) return
    this.#order?.hears(decisions)
    hearOfDecisions(decisions, jobs, (job) => this.ended(job, false))
  }

  isHeld(job: DecidableJob): boolean {
    for (const one of this.#of(job)) if (this.#ofJob(one, 'holds', true, job) === true) return true
    // what waits for something else takes no turn and no place
    return this.#gate?.holds(job) === true
  }

  started(job: DecidableJob): void {
    this.#gate?.started(job)
    for (const one of this.#of(job)) this.#ofJob(one, 'started', undefined, job)
  }

  called(jobs: readonly DecidableJob[]): void {
    this.#order?.called(jobs)
  }

  ended(job: DecidableJob, isDone: boolean): ReadonlyMap<string, CheckedPolicyDecision> {
    let decisions: Map<string, CheckedPolicyDecision> | undefined
    this.#gate?.ended(job, isDone)
    for (const one of this.#of(job)) {
      const others = this.#ofJob(one, 'ended', undefined, job, isDone)
      if (!others) continue
      decisions ??= new Map()
      const { name } = one
      this.#safely(name, undefined, () => noteOthers(decisions as Map<string, CheckedPolicyDecision>, others, name))
    }
    return decisions ?? NOTHING_DECIDED
  }

  outcomeOf(decision: CheckedPolicyDecision, job: DecidableJob, now: number): Outcome {
    return policyDecisionOutcome(decision, job, now)
  }

  success(job: DecidableJob): Outcome {
    const early = this.#order?.succeeded(job)
    if (early) return policyDecisionOutcome(early, job, this.#time.clock.now())
    if (!this.#joins) return ACK_OUTCOME
    const told = this.#of(job).map(({ hooks }) => assertNotPromise(hooks.joins?.(job)) ?? [])
    const commands = checkJoinedCommands(
      this.#keys,
      told.flatMap((own) => checkPolicyCommands(this.#keys, own)),
    )
    const marker = this.#markerOf(job)
    return commands.length === 0 && !marker ? ACK_OUTCOME : { kind: 'ack-with', commands, marker }
  }

  #markerOf(job: DecidableJob): PolicyMarker | undefined {
    for (const { hooks } of this.#of(job)) {
      const marker = assertNotPromise(hooks.marks?.(job))
      if (marker) return checkMarker(marker)
    }
    return undefined
  }

  judge(job: DecidableJob, verdict: Outcome, error: unknown, call: FailedCall): void {
    const behind = this.#order?.failed(job)
    if (behind) {
      job.outcome = policyDecisionOutcome(behind, job, this.#time.clock.now())
      return
    }
    const isLast = verdict.kind === 'dead-letter' && verdict.letter.reason === 'max-deliveries'
    const decision = this.#gate?.failed(job, { error, call, isLast })
    if (decision === 'later') Object.assign(job, { verdict, failedCall: call })
    else job.outcome = decision ? policyDecisionOutcome(decision, job, this.#time.clock.now()) : verdict
  }

  isOver(condition: string): CameBack | boolean {
    const { reason, what } = parseCondition(condition)
    const gated = this.#gate?.comesBack(condition)
    if (gated) return gated
    return this.#all.some(
      ({ name, hooks }) =>
        name === reason && this.#safely(name, false, () => assertNotPromise(hooks.isOver?.(what)) === true),
    )
  }

  dueAt(): number {
    return Math.min(
      Infinity,
      ...this.#all.map(({ name, hooks }) =>
        this.#safely(name, Infinity, () => checkHookTime(assertNotPromise(hooks.dueAt?.()))),
      ),
    )
  }

  async finish(): Promise<void> {
    await this.#gate?.finish()
  }

  end(): readonly PolicyCommand[] {
    return this.#all.flatMap(({ name, hooks }) =>
      this.#safely(name, [], () => checkPolicyCommands(this.#keys, assertNotPromise(hooks.end?.()) ?? [])),
    )
  }

  #of(job: DecidableJob): readonly PolicyAtWork[] {
    return this.#isOfRoutes ? this.#all.filter((one) => appliesTo(one, job)) : this.#all
  }

  /** Calls what is called for each job: no closure is made for it. */
  #ofJob<Hook extends 'holds' | 'started' | 'ended', Fallback>(
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

  #safely<T, Fallback = T>(name: string, fallback: Fallback, hook: () => T): T | Fallback {
    try {
      return callPolicyHook(name, hook)
    } catch (error) {
      this.#fail(error as Error)
      return fallback
    }
  }

  #has(hook: keyof RunPolicy): boolean {
    return this.#all.some(({ hooks }) => hooks[hook] !== undefined)
  }
}

/** @throws {TypeError} What was said of one of them is no decision. */
function noteOthers(
  decisions: Map<string, CheckedPolicyDecision>,
  others: ReadonlyMap<string, Decision>,
  policy: string,
): void {
  for (const [id, told] of others) {
    const decision = checkPolicyDecision(told, policy)
    if (decision && !decisions.has(id)) decisions.set(id, decision)
  }
}

/** @throws {TypeError} No hooks, or one of a whole consumer on a route. */
function begun(answer: RunPolicy | undefined, eventType: string | undefined): RunPolicy | undefined {
  const hooks = checkRunHooks(answer)
  const whole = eventType !== undefined && OF_CONSUMER.find((hook) => hooks?.[hook])
  if (whole) throw wrongUseError(`use it on ${quotedValue(eventType)}`, `${whole} is for a policy of the consumer`)
  return hooks
}
