import { describeError } from '../core/dead-letter.ts'
import { JOINABLE } from '../core/joinable.ts'
import { hashSlot } from '../core/keys.ts'
import { cannot } from '../core/options.ts'
import type { Outcome } from '../core/outcome.ts'
import { ACK } from '../core/outcome.ts'
import { quoted } from '../core/quoted.ts'
import type { Guard } from '../group/group.ts'
import type { Decision, PolicyCommand, PolicyReply, PolicyRun, RunPolicy } from '../policy.ts'
import type { Decidable } from './decided.ts'
import { checked, outcomeOf } from './decided.ts'
import type { RunParts } from './parts.ts'
import type { Time } from './time.ts'

/** A policy at work in a run. */
interface AtWork {
  readonly name: string
  readonly hooks: RunPolicy
  /** Of a route: only its jobs are shown to it. */
  readonly eventType: string | undefined
}

/** In place of what a hook that threw would have answered. */
const FAILED = Symbol('failed')

/** Hooks that are of the whole consumer. */
const OF_CONSUMER = ['limit', 'riders', 'answered', 'inspect', 'dueAt'] as const

/** What the policies of a consumer do in one run, all together. There is none where no policy is used. */
export class RunPolicies {
  /** Has the pool look again; set by whoever has one. */
  resume: () => void = () => {}
  readonly guards: readonly Guard[]
  /** Something is asked or decided about what was read, before it waits for its call. */
  readonly admits: boolean
  readonly inspects: boolean
  readonly holds: boolean
  readonly #stream: string
  readonly #fail: (error: Error) => void
  readonly #all: readonly AtWork[]

  /** @param fail Ends the run with that error: a hook threw, or one could not begin. */
  constructor(parts: RunParts, time: Time, fail: (error: Error) => void) {
    const { consumer, slot, action } = parts
    const { stream, group, keys } = consumer
    const begin = (eventType: string | undefined): PolicyRun => ({
      action,
      stream,
      group,
      keys,
      consumerName: slot.consumerName,
      eventType,
      now: () => time.clock.now(),
      remainingMs: () => Math.max(0, time.waitableMs()),
      resume: () => this.resume(),
    })
    this.#stream = stream
    this.#fail = fail
    this.#all = consumer.policies.flatMap(({ policy, eventType }) => {
      const { name } = policy
      const hooks = this.#safely(name, undefined, () => {
        const begun = policy.begin?.(begin(eventType))
        const whole = eventType !== undefined && OF_CONSUMER.find((hook) => begun?.[hook])
        if (whole) throw cannot(`use it on ${quoted(eventType)}`, `${whole} is for a policy of the consumer`)
        return begun
      })
      return hooks ? [{ name, hooks, eventType }] : []
    })
    this.guards = consumer.policies.flatMap(({ policy }) => {
      const guard = this.#safely(policy.name, undefined, () => policy.guard?.(keys))
      return guard ? [{ key: guard.key, holds: guard.holds === 'all' ? 'all' : 'values' } as const] : []
    })
    this.holds = this.#has('holds')
    this.inspects = this.#has('inspect')
    this.admits = this.holds || this.#has('admit') || this.#has('questions')
  }

  /** How many entries a read or a page may bring; 0 none. */
  limit(most: number): number {
    let limit = most
    for (const { name, hooks } of this.#all)
      if (hooks.limit)
        limit = Math.min(
          limit,
          this.#safely(name, 0, () => wholeFrom(hooks.limit?.())),
        )
    return limit
  }

  /** What travels with a read or a page, and who is told of the answers. */
  ride(): Ride {
    const asked = this.#all.map(({ name, hooks }) => ({
      name,
      hooks,
      commands: this.#safely(name, [], () => hooks.riders?.() ?? []),
    }))
    return {
      riders: asked.flatMap(({ commands }) => commands),
      answered: (replies) => {
        let at = 0
        for (const { name, hooks, commands } of asked) {
          const own = replies.slice(at, at + commands.length)
          at += commands.length
          if (commands.length > 0) this.#safely(name, undefined, () => hooks.answered?.(own))
        }
      },
    }
  }

  /** Gives an entry its outcome that is not to be decoded. */
  inspect(job: Decidable, now: number): void {
    for (const { name, hooks } of this.#all) {
      if (job.outcome) return
      const decision = this.#safely(name, FAILED, () => checked(hooks.inspect?.(job)))
      if (decision === FAILED) job.release()
      else if (decision) job.outcome = outcomeOf(decision, job, now)
    }
  }

  /**
   * What becomes of what was read, one decision a job that is not to be called.
   *
   * @param ask Makes one request.
   * @throws {RedisConnectionError} No reply came.
   * @throws {Error} A hook threw; the message names its policy.
   */
  async admit<Job extends Decidable>(
    jobs: readonly Job[],
    ask: (commands: readonly PolicyCommand[]) => Promise<readonly PolicyReply[]>,
  ): Promise<ReadonlyMap<Job, Decision>> {
    const asked = this.#all.map((one) => {
      const own = jobs.filter((job) => appliesTo(one, job))
      const questions = () => (own.length > 0 ? (one.hooks.questions?.(own) ?? []) : [])
      return { ...one, own, commands: hooked(one.name, questions) }
    })
    const commands = asked.flatMap((one) => one.commands)
    const replies = commands.length > 0 ? await ask(commands) : []
    const decisions = new Map<Job, Decision>()
    let at = 0
    for (const { name, hooks, own, commands: sent } of asked) {
      const answers = replies.slice(at, at + sent.length)
      at += sent.length
      if (!hooks.admit || own.length === 0) continue
      const decided = hooked(name, () => hooks.admit?.(own, answers).map(checked) ?? [])
      for (const [n, job] of own.entries()) {
        const decision = decided[n]
        if (decision && !decisions.has(job)) decisions.set(job, decision)
      }
    }
    return decisions
  }

  /** Whether a job has to wait. What cannot be told waits for the end of the run, which is near. */
  isHeld(job: Decidable): boolean {
    return this.#of(job).some(({ name, hooks }) => this.#safely(name, true, () => hooks.holds?.(job) === true))
  }

  started(job: Decidable): void {
    for (const { name, hooks } of this.#of(job)) this.#safely(name, undefined, () => hooks.started?.(job))
  }

  /** @returns What becomes of others that were held back, by their ids. */
  ended(job: Decidable, isDone: boolean): ReadonlyMap<string, Decision> {
    const decisions = new Map<string, Decision>()
    for (const { name, hooks } of this.#of(job)) {
      this.#safely(name, undefined, () => {
        for (const [id, decision] of hooks.ended?.(job, isDone) ?? [])
          if (checked(decision) && !decisions.has(id)) decisions.set(id, decision)
      })
    }
    return decisions
  }

  /** The outcome of a job whose handler succeeded, with what joins it. @throws {TypeError} A command that may not join. */
  success(job: Decidable): Outcome {
    const commands = this.#of(job).flatMap(({ hooks }) => hooks.joins?.(job) ?? [])
    if (commands.length === 0) return ACK
    for (const [name, key] of commands) {
      const action = `acknowledge with ${quoted(name)}`
      if (JOINABLE[String(name).toLowerCase()] === undefined)
        throw cannot(action, `a command must be one of ${Object.keys(JOINABLE).join(', ')}`)
      if (hashSlot(String(key)) !== hashSlot(this.#stream))
        throw cannot(action, `its key must lie in the stream's hash slot, got ${quoted(key)}`)
    }
    return { kind: 'ack-with', commands }
  }

  /** When something is due that the run should wait for, in milliseconds since 1970. */
  dueAt(): number {
    return Math.min(
      Infinity,
      ...this.#all.map(({ name, hooks }) => this.#safely(name, Infinity, () => hooks.dueAt?.() ?? Infinity)),
    )
  }

  end(): readonly PolicyCommand[] {
    return this.#all.flatMap(({ name, hooks }) => this.#safely(name, [], () => hooks.end?.() ?? []))
  }

  #of(job: Decidable): readonly AtWork[] {
    return this.#all.filter((one) => appliesTo(one, job))
  }

  #safely<T, Fallback = T>(name: string, fallback: Fallback, hook: () => T): T | Fallback {
    try {
      return hooked(name, hook)
    } catch (error) {
      this.#fail(error as Error)
      return fallback
    }
  }

  #has(hook: keyof RunPolicy): boolean {
    return this.#all.some(({ hooks }) => hooks[hook] !== undefined)
  }
}

/** Commands that travel with a request. */
export interface Ride {
  readonly riders: readonly PolicyCommand[]
  answered(replies: readonly PolicyReply[]): void
}

/** @throws {Error} The hook threw; the message names its policy. */
function hooked<T>(name: string, hook: () => T): T {
  try {
    return hook()
  } catch (error) {
    const { name: kind, message } = describeError(error)
    throw new Error(`Cannot go on: policy ${quoted(name)} failed: ${kind}: ${message}`, { cause: error })
  }
}

function appliesTo({ eventType }: AtWork, job: Decidable): boolean {
  return eventType === undefined || job.event?.type === eventType
}

function wholeFrom(limit: unknown): number {
  if (typeof limit !== 'number' || Number.isNaN(limit)) throw new TypeError('limit must answer a number')
  return Math.max(0, Math.floor(limit))
}
