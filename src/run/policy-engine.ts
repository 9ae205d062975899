import type { Entry } from '../core/entry.ts'
import type { Outcome } from '../core/outcome.ts'
import type { Consumer } from '../define/consumer.ts'
import type { PolicyCommand, PolicyMachinery, PolicyReply } from '../define/policy.ts'
import { POLICY_MACHINERY } from '../define/policy.ts'
import type { Route } from '../define/route.ts'
import type { Connection } from '../group/connection.ts'
import type { Group, StartGuardKey, TakeDueRequest, TakeScripts } from '../group/group.ts'
import type { CheckedPolicyDecision, DecidableJob } from './checked-policy-decision.ts'
import type { RunParts } from './parts.ts'
import type { RunTime } from './time.ts'

/** What puts policies to work. Each carries it, so that a run knows no more than this: a consumer without policies is deployed without. */
export interface PolicyEngine extends PolicyMachinery {
  /** All policies of a consumer in one run. @param fail Ends the run with that error: a hook threw, or one could not begin. */
  atWork(parts: RunParts, time: RunTime, fail: (error: Error) => void): PoliciesOfRun
  /** The group of a consumer, as its policies need it. */
  open(redis: Connection, consumer: Consumer, remainingMs: () => number): Group
  /** @throws {TypeError} No consumer of a poller may have a second one, so that it would never be called. */
  assertScales(action: string, consumers: readonly Consumer[]): void
  /** What a policy makes of the group of its consumer. Left out: nothing. */
  readonly groupOf?: (group: Group, consumer: Consumer) => Group
  /** The lane of an entry, for operators. Left out: the policy keeps no order. */
  readonly laneOf?: (consumer: Consumer, entry: Entry) => string
}

/** The engine of a consumer's first policy, which serves all of them; `undefined` where none does more than wrap. */
export function findPolicyEngine({ policies }: Consumer): PolicyEngine | undefined {
  return policies[0]?.policy[POLICY_MACHINERY] as PolicyEngine | undefined
}

/** What a run shows policies of this package. */
export interface PolicyRunInside {
  readonly parts: RunParts
  readonly time: RunTime
  readonly policies: PoliciesOfRun
  /** Ends the run with that error. */
  readonly fail: (error: Error) => void
  /** Made by the first policy that needs it. */
  gate?: GateOfRun
  /** Who keeps the order of keys. */
  order?: OrderOfRun
}

/** Who keeps the order of keys in a run. */
export interface OrderOfRun {
  /** Something may be set aside: all of that is in lanes. */
  readonly mayHaveLanes: boolean
  /** Takes note of what was read, decoded, before anybody decides about it. */
  register(jobs: readonly DecidableJob[]): void
  /** What policies have decided about jobs, before that is their outcome. */
  hears(decisions: ReadonlyMap<DecidableJob, CheckedPolicyDecision>): void
  /** Jobs of a batch route leave for their call together. */
  called(jobs: readonly DecidableJob[]): void
  /** What becomes of a job whose handler succeeded, or failed; `undefined`: what that means without order. */
  succeeded(job: DecidableJob): CheckedPolicyDecision | undefined
  failed(job: DecidableJob): CheckedPolicyDecision | undefined
  /** The conditions of other policies; one more holds when what follows in a lane may be due. */
  conditionsWith(others: PolledConditions | undefined): PolledConditions
}

/** How many entries come back that wait for a condition, from which id on; from the start, once there are none behind it. */
export interface CameBack {
  readonly most: number
  readonly after: string | undefined
}

/** What asks the server for jobs that are about to start, for several policies at once: it comes with them. */
export interface GateOfRun {
  /** Entries are set aside until they have their turn, or a place. */
  readonly setsAsideForTurns: boolean
  riders(): readonly PolicyCommand[]
  answered(replies: readonly PolicyReply[]): void
  /** Whether a job has to wait that nobody else holds back. */
  holds(job: DecidableJob): boolean
  started(job: DecidableJob): void
  ended(job: DecidableJob, isDone: boolean): void
  /** What becomes of a job that failed, in place of a retry; or `decide` says later. */
  failed(job: DecidableJob, failed: FailedJob): CheckedPolicyDecision | 'later' | undefined
  comesBack(condition: string): CameBack | boolean
  readonly conditions: PolledConditions
  readonly takeScripts: TakeScripts
  /** Resolves once nothing is asked any more. */
  finish(): Promise<void>
}

/** A call that failed, which ends once policies have said what becomes of all its jobs. */
export interface FailedCall {
  decided(): void
}

/** How a job failed. */
export interface FailedJob {
  readonly error: unknown
  /** Of which it was. */
  readonly call: FailedCall
  /** It has no delivery left. */
  readonly isLast: boolean
}

/** Conditions that policies have pollers take what waits for them; others are for claimers. */
export interface PolledConditions {
  /** What entries waited for as something was taken. */
  see(conditions: readonly string[]): void
  /** Those of them that hold by now, as a take names them. */
  over(): TakeDueRequest['conditions']
  /** When one may hold, on the monotonic clock: -Infinity by now, Infinity nobody knows. */
  dueAt(): number
}

/** What the policies of a consumer do in one run, all together. */
export interface PoliciesOfRun {
  /** Has the pool look again; set by whoever has one. */
  resume: () => void
  /** Decides about a job that waits in the pool; `undefined`: what its failure means. Set by whoever has one. */
  decide: (entryId: string, decision: CheckedPolicyDecision | undefined) => void
  /** How many calls the pool has room for, or how many of a route; set by whoever has one. */
  room: (route?: Route) => number
  readonly guards: readonly StartGuardKey[]
  readonly inspects: boolean
  readonly holds: boolean
  /** A policy hears of the ends of calls. */
  readonly follows: boolean
  /** How many entries a read or a page may bring; 0 none. */
  limit(most: number): number
  /** What travels with a read or a page, and who gets the answers. */
  ride(): CommandsAlongRequest
  /** Gives an entry its outcome that is not to be decoded. @param now Milliseconds since 1970. */
  inspect(job: DecidableJob, now: number): void
  /**
   * Gives jobs that were read or started their outcomes that are not to be called.
   *
   * @throws {RedisConnectionError} No reply came. None of them is called.
   */
  admit(jobs: readonly DecidableJob[]): Promise<void>
  /** Whether a job has to wait. What a failing hook cannot say waits for the end of the run, which is near. */
  isHeld(job: DecidableJob): boolean
  started(job: DecidableJob): void
  /** Jobs of a batch route leave for their call together. */
  called(jobs: readonly DecidableJob[]): void
  /** @returns What becomes of others that were held back, by their ids. */
  ended(job: DecidableJob, isDone: boolean): ReadonlyMap<string, CheckedPolicyDecision>
  /** @param now Milliseconds since 1970. */
  outcomeOf(decision: CheckedPolicyDecision, job: DecidableJob, now: number): Outcome
  /** The outcome of a job whose handler succeeded, with what joins it. @throws {TypeError} A command that may not join. */
  success(job: DecidableJob): Outcome
  /** Gives a job that failed its outcome, now or later: the verdict, unless a policy sets it aside. @param call Of which it was. */
  judge(job: DecidableJob, verdict: Outcome, error: unknown, call: FailedCall): void
  /** Whether what waits for a condition comes back now, as far as policies go; or how much of it. */
  isOver(condition: string): CameBack | boolean
  /** Conditions that pollers take what waits for them; `undefined`: all are for claimers. */
  readonly conditions: PolledConditions | undefined
  /** What takes some of a condition only, where a policy asks for that. */
  readonly takeScripts: TakeScripts | undefined
  /** Resolves once policies ask nothing any more. */
  finish(): Promise<void>
  /** When something is due that the run should wait for, in milliseconds since 1970. */
  dueAt(): number
  /** What is sent once everything is settled. */
  end(): readonly PolicyCommand[]
}

/** Commands that travel with a request. */
export interface CommandsAlongRequest {
  readonly riders: readonly PolicyCommand[]
  answered(replies: readonly PolicyReply[]): void
}
