import type { RunContext } from '../define/route.ts'
import { BuiltInPolicy } from './built-in-policy.ts'
import { ClaimerCalls } from './claimer-wake.ts'
import { sharedBatchContext } from './context.ts'
import { createDeadLetterNotices } from './dead-letter-notices.ts'
import type { ExpiryCheck } from './expiry.ts'
import { createExpiryCheck } from './expiry.ts'
import { IdleRenewal } from './idle-renewal.ts'
import type { RunParts } from './parts.ts'
import type { PoliciesOfRun } from './policy-engine.ts'
import { findPolicyEngine } from './policy-engine.ts'
import { RunDelays } from './run-delays.ts'
import { RunPauses } from './run-pauses.ts'
import type { RunReport } from './run-report.ts'
import { Settler } from './settler.ts'
import { RunTime } from './time.ts'

/** One run of a consumer, from taking its slot to giving it back. */
export class Run {
  readonly parts: RunParts
  readonly time: RunTime
  readonly settler: Settler
  readonly report: RunReport
  readonly surroundings: RunContext
  /** `undefined` where no policy is used that does more than wrap. */
  readonly policies: PoliciesOfRun | undefined
  readonly alwaysOn: BuiltInPolicy
  /** `undefined` where nobody is woken. */
  readonly claimerCalls: ClaimerCalls | undefined
  readonly pauses: RunPauses
  /** `undefined` where the consumer promotes no delayed events. */
  readonly delays: RunDelays | undefined
  /** `undefined` where nothing expires. */
  readonly expiry: ExpiryCheck | undefined
  /** Nothing was left to do, and the slot went back with the answer that said so. */
  hasGivenSlot = false
  /** Deliveries of handlers past their time that have not settled. */
  overrunning = 0
  #hasEnded = false
  readonly #renewal: IdleRenewal
  readonly #notices: ReturnType<typeof createDeadLetterNotices>

  constructor(parts: RunParts) {
    const { consumer, group, slot, report, clock, budget, signal } = parts
    this.parts = parts
    this.report = report
    this.surroundings = sharedBatchContext(parts)
    this.expiry = consumer.asksTime ? createExpiryCheck(consumer, slot.takenAt, clock) : undefined
    this.alwaysOn = new BuiltInPolicy(consumer.settings)
    const handlerTimeoutMs = consumer.routeBounds.longestTimeoutMs
    this.time = new RunTime(clock, budget, { ...consumer.settings, handlerTimeoutMs }, signal)
    this.pauses = new RunPauses(this.time, report)
    this.pauses.see(slot.paused)
    this.delays = parts.promote && new RunDelays(parts.promote, clock, report, (error) => this.settler.note(error))
    this.delays?.see(slot.delayed)
    this.#notices = createDeadLetterNotices(parts)
    const { claimerWake, lingerMs } = parts
    this.claimerCalls = claimerWake && new ClaimerCalls(claimerWake, group, this.time)
    // who listens to its end, or is a claimer, takes what is due itself
    const wakes = parts.action === 'poll' && lingerMs !== Infinity ? this.claimerCalls : undefined
    this.settler = new Settler({ consumer, group, slot, report, time: this.time, notices: this.#notices, wakes })
    const fail = (error: Error) => {
      this.settler.note(error)
      this.time.stop()
    }
    this.policies = findPolicyEngine(consumer)?.atWork(parts, this.time, fail)
    const { time, settler, pauses } = this
    this.#renewal = new IdleRenewal({ consumer, group, slot, report, time, settler, pauses })
  }

  /** Whether there is time to wait for others, and others may come. */
  mayWait(): boolean {
    return this.time.mayStart() && this.time.waitableMs() > 0 && this.alwaysOn.limit() > 0
  }

  /** Whether nothing but the time keeps the run from going on. */
  get isSound(): boolean {
    return !this.time.isStopped && this.alwaysOn.limit() > 0 && this.settler.failures.length === 0
  }

  /** Sends what policies want to be sent at the end. Its failure is noted. */
  async endPolicies(): Promise<void> {
    try {
      await this.policies?.finish()
      const commands = this.policies?.end() ?? []
      const replies = commands.length > 0 ? await this.parts.group.ask(commands) : []
      for (const reply of replies) if (reply instanceof Error) this.settler.note(reply)
    } catch (error) {
      this.settler.note(error as Error)
    }
  }

  /** When it resolves no timer and no command of the run is left. May be called again, once more was settled. */
  async end(): Promise<void> {
    if (!this.#hasEnded) this.report.overran(this.overrunning)
    this.#hasEnded = true
    await this.#renewal.end()
    await this.claimerCalls?.end()
    await this.delays?.end()
    await this.#notices?.end(this.time.spareMs())
  }
}
