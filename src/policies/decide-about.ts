import type { ConsumerKeys } from '../core/keys.ts'
import type { PolicyQuestion, PolicyReply, RunPolicy } from '../define/policy.ts'
import type { CheckedPolicyDecision, DecidableJob } from '../run/checked-policy-decision.ts'
import type { Job } from '../run/job.ts'
import { assertNotPromise, callPolicyHook, checkDecisions } from './hook-answers.ts'
import { checkPolicyQuestions } from './policy-commands.ts'

/** A policy at work in a run. */
export interface PolicyAtWork {
  readonly name: string
  readonly hooks: RunPolicy
  /** Of a route: only its jobs are shown to it. */
  readonly eventType: string | undefined
}

export function appliesTo({ eventType }: PolicyAtWork, job: DecidableJob): boolean {
  return eventType === undefined || job.event?.type === eventType
}

/**
 * What becomes of what was read, one decision a job that is not to be called: that of the first policy that has one.
 *
 * @param ask Makes one request.
 * @throws {RedisConnectionError} No reply came.
 * @throws {Error} A hook threw; the message names its policy.
 */
export async function decideAbout(
  policies: readonly PolicyAtWork[],
  keys: ConsumerKeys,
  jobs: readonly Job[],
  ask: (questions: readonly PolicyQuestion[]) => Promise<readonly PolicyReply[]>,
): Promise<Map<Job, CheckedPolicyDecision>> {
  const asked = policies.map((one) => questionsOf(one, keys, jobs))
  const commands = asked.flatMap((one) => one.commands)
  const replies = commands.length > 0 ? await ask(commands) : []
  const decisions = new Map<Job, CheckedPolicyDecision>()
  let at = 0
  for (const { name, hooks, own, commands: sent } of asked) {
    const answers = replies.slice(at, at + sent.length)
    at += sent.length
    if (!hooks.admit || own.length === 0) continue
    const decided = callPolicyHook(name, () => checkDecisions(hooks.admit?.([...own], answers), own.length, name))
    noteFirst(decisions, own, decided)
  }
  return decisions
}

function noteFirst(
  decisions: Map<Job, CheckedPolicyDecision>,
  jobs: readonly Job[],
  decided: readonly (CheckedPolicyDecision | undefined)[],
): void {
  for (const [n, job] of jobs.entries()) {
    const decision = decided[n]
    if (decision && !decisions.has(job)) decisions.set(job, decision)
  }
}

function questionsOf(one: PolicyAtWork, keys: ConsumerKeys, jobs: readonly Job[]) {
  const own = jobs.filter((job) => appliesTo(one, job))
  const questions = () => (own.length > 0 ? (one.hooks.questions?.([...own]) ?? []) : [])
  const commands = callPolicyHook(one.name, () => checkPolicyQuestions(keys, assertNotPromise(questions())))
  return { ...one, own, commands }
}
