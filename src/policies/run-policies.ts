import { parseCondition } from '../core/condition.ts'
import type { ConsumerKeys } from '../core/keys.ts'
import { wrongUseError } from '../core/options.ts'
import type { Outcome } from '../core/outcome.ts'
import { ACK_OUTCOME } from '../core/outcome.ts'
import type { PolicyCommand, PolicyMarker, PolicyRun, RunPolicy } from '../define/policy.ts'
import { RUN_INSIDE } from '../define/policy.ts'
import { quotedValue } from '../errors.ts'
import type { StartGuardKey } from '../group/group.ts'
import type { CheckedPolicyDecision, DecidableJob } from '../run/checked-policy-decision.ts'
import { checkMarker, checkPolicyDecision, policyDecisionOutcome } from '../run/checked-policy-decision.ts'
import type { Job } from '../run/job.ts'
import type { RunParts } from '../run/parts.ts'
import type {
  CameBack,
  CommandsAlongRequest,
  GateOfRun,
  OrderOfRun,
  PoliciesOfRun,
  PolicyRunInside,
} from '../run/policy-engine.ts'
import type { RunTime } from '../run/time.ts'
import { letPoliciesDecide } from './admission.ts'
import type { PolicyAtWork } from './decide-about.ts'
import { appliesTo, decideAbout } from './decide-about.ts'
import { assertNotPromise, callPolicyHook, checkHookLimit, checkHookTime, checkRunHooks } from './hook-answers.ts'
import { checkJoinedCommands, checkPolicyCommands } from './policy-commands.ts'

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
  readonly #keys: ConsumerKeys
  readonly #fail: (error: Error) => void
  readonly #all: readonly PolicyAtWork[]
  readonly #gate: GateOfRun | undefined
  readonly #order: OrderOfRun | undefined

  constructor(parts: RunParts, time: RunTime, fail: (error: Error) => void) {
    const { consumer } = parts
    const { keys } = consumer
    const inside: PolicyRunInside = { parts, time, policies: this, fail }
    this.#keys = keys
    this.#fail = fail
    this.#all = consumer.policies.flatMap(({ policy, eventType }) => {
      const { name, begin } = policy
      const hooks = this.#safely(name, undefined, () => begun(begin?.(this.#runOf(inside, eventType)), eventType))
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
    this.follows = this.holds || this.#has('ended')
    // whoever is shown a job is shown its event
    this.#admits = this.follows || this.#has('admit') || this.#has('questions') || this.#has('started')
  }

  /** What a policy is shown of the run. */
  #runOf(inside: PolicyRunInside, eventType: string | undefined): PolicyRun {
    const { parts, time } = inside
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
      resume: () => this.resume(),
      [RUN_INSIDE]: inside,
    }
  }

  get setsAsideForTurns(): boolean {
    return this.#gate?.setsAsideForTurns === true || this.#order !== undefined
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
    for (const [job] of decisions)
      for (const [id, decision] of this.ended(job, false)) {
        const other = jobs.find((one) => one.id === id)
        if (other && !decisions.has(other)) decisions.set(other, decision)
      }
  }

  isHeld(job: DecidableJob): boolean {
    const isHeld = this.#of(job).some(({ name, hooks }) =>
      this.#safely(name, true, () => assertNotPromise(hooks.holds?.(job)) === true),
    )
    // what waits for something else takes no turn and no place
    return isHeld || this.#gate?.holds(job) === true
  }

  started(job: DecidableJob): void {
    this.#gate?.started(job)
    for (const { name, hooks } of this.#of(job)) this.#safely(name, undefined, () => hooks.started?.(job))
  }

  ended(job: DecidableJob, isDone: boolean): ReadonlyMap<string, CheckedPolicyDecision> {
    const decisions = new Map<string, CheckedPolicyDecision>()
    this.#gate?.ended(job, isDone)
    for (const { name, hooks } of this.#of(job)) {
      this.#safely(name, undefined, () => {
        for (const [id, told] of assertNotPromise(hooks.ended?.(job, isDone)) ?? []) {
          const decision = checkPolicyDecision(told, name)
          if (decision && !decisions.has(id)) decisions.set(id, decision)
        }
      })
    }
    return decisions
  }

  outcomeOf(decision: CheckedPolicyDecision, job: DecidableJob, now: number): Outcome {
    return policyDecisionOutcome(decision, job, now)
  }

  success(job: DecidableJob): Outcome {
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

  failed(job: DecidableJob, error: unknown, call: object): CheckedPolicyDecision | 'later' | undefined {
    return this.#gate?.failed(job, error, call)
  }

  isOver(condition: string): CameBack | boolean {
    const { reason, what } = parseCondition(condition)
    const gated = this.comesBack(condition)
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

  comesBack(condition: string): CameBack | boolean {
    return this.#gate?.comesBack(condition) ?? false
  }

  conditionDueAt(): number {
    return this.#order?.isDue ? Number.NEGATIVE_INFINITY : (this.#gate?.conditionDueAt() ?? Infinity)
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
    return this.#all.filter((one) => appliesTo(one, job))
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

/** @throws {TypeError} No hooks, or one of a whole consumer on a route. */
function begun(answer: RunPolicy | undefined, eventType: string | undefined): RunPolicy | undefined {
  const hooks = checkRunHooks(answer)
  const whole = eventType !== undefined && OF_CONSUMER.find((hook) => hooks?.[hook])
  if (whole) throw wrongUseError(`use it on ${quotedValue(eventType)}`, `${whole} is for a policy of the consumer`)
  return hooks
}
