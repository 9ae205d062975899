import { formatCondition, parseCondition } from '../../core/condition.ts'
import type { Decision, PolicyCommand, PolicyJob, PolicyReply, PolicyRun } from '../../define/policy.ts'
import { RUN_INSIDE } from '../../define/policy.ts'
import type { CheckedPolicyDecision } from '../../run/checked-policy-decision.ts'
import type { CameBack, FailedJob, GateOfRun, PolicyRunInside } from '../../run/policy-engine.ts'
import { BreakerConditions } from './breaker-conditions.ts'
import { FailureReports } from './failure-reports.ts'
import type { FlowRule } from './flow-rules.ts'
import { breakerRulesOf, scopeOf } from './flow-rules.ts'
import { GateAsker } from './gate-asker.ts'
import type { GateAnswer } from './gate-request.ts'
import { breakerText, KnownBreakers } from './known-breakers.ts'
import { roomByRoute } from './room-by-route.ts'
import { CIRCUIT_BREAKER, COUNTERS, comesBackAt, earlier, parkForBreaker } from './set-aside.ts'
import { TAKE_SOME } from './take-some.ts'
import { TurnsAhead } from './turns-ahead.ts'
import { WaitingJob } from './waiting-job.ts'

/** What may start within that time waits in the run; what may not is set aside. */
const HOLD_MS = 1_000

/** For how long a circuit breaker that was closed is taken for closed. */
const FRESH_MS = 100

/** How soon asks again what there was no room for. */
const NO_ROOM_MS = 20

/**
 * What circuit breakers, concurrency limits and rate limits of a run do together. A job that has to pass waits in the run's queue; once its call is near, it is asked for all that
 * it needs, and given all or none. What cannot start within a second is set aside, so that others flow.
 *
 * A job is new, is asked about, then waits for a time, or has passed and starts, or lapses and is asked about again; each transition is in this class.
 */
export class RunGate implements GateOfRun {
  readonly #inside: PolicyRunInside
  readonly #rules: FlowRule[] = []
  readonly #jobs = new Map<PolicyJob, WaitingJob>()
  readonly #wanting = new Set<WaitingJob>()
  readonly #asker: GateAsker
  readonly #breakers: KnownBreakers
  readonly #ahead: TurnsAhead
  readonly #failures: FailureReports
  readonly takeScripts = TAKE_SOME
  readonly conditions: BreakerConditions
  #isAskPlanned = false
  #wakesAt = Infinity
  #cancelWake: () => void = () => {}

  constructor(inside: PolicyRunInside) {
    const { parts } = inside
    this.#inside = inside
    this.#asker = new GateAsker(inside)
    this.#breakers = new KnownBreakers(parts, this.#asker.serverTime)
    this.#failures = new FailureReports(inside, this.#asker, this.#breakers)
    this.conditions = new BreakerConditions(this, this.#breakers, () => this.#now)
    this.#ahead = new TurnsAhead(parts.consumer.settings.concurrency)
  }

  add(rule: FlowRule): void {
    this.#rules.push(rule)
    if (rule.kind === 'breaker')
      for (const type of rule.eventType === undefined ? this.#inside.parts.consumer.routes.keys() : [rule.eventType])
        this.#breakers.types.add(type)
  }

  /** What the names of a policy's limits begin with. */
  scopeOf(kind: FlowRule['kind'], eventType: string | undefined): string {
    return scopeOf(this.#rules, kind, eventType)
  }

  get setsAsideForTurns(): boolean {
    return this.#rules.some(({ kind }) => kind !== 'breaker')
  }

  get #now(): number {
    return this.#inside.time.clock.monotonic()
  }

  riders(): readonly PolicyCommand[] {
    return this.#breakers.riders(this.#now)
  }

  answered([reply]: readonly PolicyReply[]): void {
    this.#breakers.answered(reply)
    this.#inside.parts.report.circuitsOpen(this.#breakers.openTypes)
  }

  /** An entry of a type whose circuit breaker is known to be open, and not to be probed yet. */
  admit(jobs: readonly PolicyJob[]): readonly (Decision | undefined)[] {
    return jobs.map((job) => {
      const type = job.event?.type
      if (type === undefined || !this.#breakers.types.has(type) || !this.#breakers.isShut(type, this.#now))
        return undefined
      this.#inside.parts.report.limited('circuitOpen')
      return { action: 'park', until: breakerText(type) }
    })
  }

  holds(job: PolicyJob): boolean {
    const waiting = this.#jobs.get(job) ?? this.#begin(job)
    if (!waiting) return false
    const now = this.#now
    const type = waiting.breakerType
    if (type !== '' && this.#failures.areReported(type)) return true
    if (waiting.phase === 'passed') {
      if (now > waiting.until) this.#lapse(waiting, now)
      if (waiting.phase === 'passed') return now < waiting.from && this.#wakeAt(waiting.from)
    }
    if (type !== '' && !waiting.isProbe) {
      if (this.#breakers.isShut(type, now)) return this.#setAsideSoon(waiting)
      if (waiting.needsBreakerOnly && this.#breakers.wasClosed(type, now - FRESH_MS)) return false
    }
    if (waiting.phase === 'waits') {
      if (now < waiting.from) return this.#wakeAt(waiting.from)
      waiting.phase = 'new'
    }
    if (waiting.phase === 'new') {
      this.#wanting.add(waiting)
      this.#askSoon()
    }
    return true
  }

  started(job: PolicyJob): void {
    const waiting = this.#jobs.get(job)
    if (!waiting) return
    waiting.phase = 'runs'
    waiting.startedAt = this.#now
    this.#ahead.kept()
  }

  ended(job: PolicyJob, isDone: boolean): void {
    const waiting = this.#jobs.get(job)
    if (!waiting) return
    this.#jobs.delete(job)
    this.#wanting.delete(waiting)
    if (waiting.phase === 'runs') this.#ahead.took(this.#now - waiting.startedAt)
    // what it is given is given back with the answer
    if (waiting.phase !== 'asked') this.#giveBack(waiting, isDone)
    waiting.phase = 'ended'
  }

  failed(job: PolicyJob, failed: FailedJob): CheckedPolicyDecision | 'later' | undefined {
    const waiting = this.#jobs.get(job)
    const rules = waiting?.breakerType ? breakerRulesOf(this.#rules, job) : undefined
    if (!waiting || !rules?.when(failed.error)) return undefined
    const decision = this.#failures.failed(waiting, rules, failed)
    if (decision === 'later') this.#askSoon()
    return decision
  }

  comesBack(condition: string): CameBack | boolean {
    const type = [...this.#breakers.types].find(
      (one) => condition === formatCondition(CIRCUIT_BREAKER, breakerText(one)),
    )
    // what waits for a breaker that its type has no more waits for nothing
    if (type === undefined) return parseCondition(condition).reason === CIRCUIT_BREAKER
    return this.#breakers.comesBack(type, this.#now)
  }

  async finish(): Promise<void> {
    this.#cancelWake()
    while (this.#asker.hasOperations || this.#asker.isAsking) await this.#ask()
  }

  /** A turn came too late for its job: that takes the next one that the run has, so that it is not behind those that came later; the last of them asks again. */
  #lapse(waiting: WaitingJob, now: number): void {
    this.#ahead.lapsed(now)
    WaitingJob.shareTurns(
      [...this.#jobs.values()].filter(
        (other) => other === waiting || (other.phase === 'passed' && other.sharesTurnsWith(waiting)),
      ),
      now,
    )
  }

  #begin(job: PolicyJob): WaitingJob | undefined {
    const waiting = WaitingJob.of(job, this.#rules, this.#inside, this.#ahead, this.#asker.serverTime)
    if (waiting) this.#jobs.set(job, waiting)
    return waiting
  }

  #wakeAt(at: number): true {
    if (at >= this.#wakesAt) return true
    this.#cancelWake()
    this.#wakesAt = at
    this.#cancelWake = this.#inside.time.clock.after(Math.max(0, at - this.#now), () => {
      this.#wakesAt = Infinity
      this.#inside.policies.resume()
    })
    return true
  }

  #askSoon(): void {
    if (this.#isAskPlanned || this.#asker.isAsking) return
    this.#isAskPlanned = true
    queueMicrotask(() => {
      this.#isAskPlanned = false
      void this.#ask()
    })
  }

  /** Asks for those that are near their calls, and reports calls that ended. */
  async #ask(): Promise<void> {
    if (this.#asker.isAsking) return this.#asker.asked
    const asked = this.#choose()
    if (asked.length === 0 && !this.#asker.hasOperations) return
    for (const waiting of asked) {
      waiting.phase = 'asked'
      const type = waiting.breakerType
      const answered = (answer: GateAnswer | undefined) => this.#passed(waiting, type, answer)
      this.#asker.add(waiting.ask(this.#ahead, this.#asker.serverTime, this.#now), answered)
    }
    const passed = [...this.#jobs.values()].filter(({ phase }) => phase === 'passed').length
    await this.#asker.send(Math.max(0, this.#inside.policies.room() + this.#ahead.count - passed))
    this.#inside.policies.resume()
    // other streams of the set wait for what was answered as well
    this.#inside.parts.shared?.changed()
    if (this.#asker.hasOperations) this.#askSoon()
  }

  #choose(): readonly WaitingJob[] {
    const now = this.#now
    const ready = [...this.#jobs.values()].filter(({ phase, from }) => phase === 'passed' && from <= now)
    let room = this.#inside.policies.room() - ready.length
    const hasRoom = roomByRoute(this.#inside.policies, ready)
    const wanting = [...this.#wanting].sort((a, b) => WaitingJob.inOrder(a, b))
    this.#wanting.clear()
    // what needs no turn has no line to stand in, and waits for room as any other
    return wanting
      .filter((one) => one.turns.length > 0 || (room > 0 && hasRoom(one) && room-- > 0))
      .slice(0, GateAsker.MOST)
  }

  #passed(waiting: WaitingJob, type: string, answer: GateAnswer | undefined): void {
    const isGone = waiting.phase === 'ended'
    const { serverTime } = this.#asker
    const now = this.#now
    // what found no place, or no turn, may have been about to be a probe
    if (type !== '' && answer?.kind === 'pass') this.#breakers.closed(type, now)
    if (!answer) waiting.phase = isGone ? 'ended' : 'new'
    else if (answer.kind === 'pass' || answer.kind === 'probe') {
      waiting.pass(answer, now, serverTime)
      if (isGone) this.#giveBack(waiting, false)
      return
    }
    waiting.refused(answer)
    if (isGone || !answer) return
    if (answer.kind === 'breaker') {
      this.#breakers.opened(type, serverTime.surelyAt(answer.at))
      this.#setAside(waiting, parkForBreaker(type))
    } else {
      const waitMs = answer.kind === 'none' ? NO_ROOM_MS : serverTime.surelyAt(answer.at) - now
      if (waiting.hasWaitedMs(now) + waitMs <= HOLD_MS)
        waiting.wait(now + Math.max(1, answer.kind === 'turn' ? earlier(waitMs) : waitMs))
      else {
        const delayMs = Math.max(0, serverTime.surelyAt(comesBackAt(answer.at)) - now)
        this.#setAside(waiting, waiting.parkDecision(answer.kind, delayMs))
      }
    }
  }

  /** Not while the pool asks. */
  #setAsideSoon(waiting: WaitingJob): true {
    if (waiting.phase !== 'leaves') queueMicrotask(() => this.#setAside(waiting, parkForBreaker(waiting.breakerType)))
    waiting.phase = 'leaves'
    return true
  }

  #setAside({ job }: WaitingJob, decision: CheckedPolicyDecision): void {
    if (!this.#jobs.has(job)) return
    this.#inside.parts.report.limited(COUNTERS[decision.policy as keyof typeof COUNTERS])
    this.#inside.policies.decide(job.entryId, decision)
  }

  #giveBack(waiting: WaitingJob, isDone: boolean): void {
    const { breakerType: eventType, probeId: entryId, places, holder } = waiting
    if (waiting.hasPlaces) {
      this.#asker.add({ op: 'left', holder, places, heldMs: this.#now - waiting.from })
      for (const other of this.#jobs.values()) other.placeLeft(places)
    }
    const worked = () => this.#breakers.success(eventType, entryId)
    if (waiting.isProbe && !waiting.hasReported) {
      this.#asker.add(isDone ? worked() : { op: 'void', eventType, entryId })
      if (isDone) this.#breakers.closed(eventType, this.#now)
      else this.#breakers.opened(eventType, this.#now)
    }
    // a success is noted once, and only where one has failed
    const isFirst = isDone && !waiting.isProbe && this.#breakers.isFirstSuccess(eventType, waiting.startedAt)
    if (isFirst) this.#asker.add(worked())
    if (this.#asker.hasOperations) this.#askSoon()
  }
}

/** The gate of a run, one for all of its policies. */
export function gateOf(run: PolicyRun): RunGate {
  const inside = run[RUN_INSIDE] as PolicyRunInside
  inside.gate ??= new RunGate(inside)
  return inside.gate as RunGate
}
