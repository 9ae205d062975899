import { errorTexts } from '../core/dead-letter/dead-letter.ts'
import { isSynchronousFunction } from '../core/handler-function.ts'
import { ignoreRejection, isThenable } from '../core/thenable.ts'
import type { Decision, RunPolicy } from '../define/policy.ts'
import { quotedValue } from '../errors.ts'
import type { CheckedPolicyDecision } from '../run/checked-policy-decision.ts'
import { checkPolicyDecision } from '../run/checked-policy-decision.ts'

/** What may be in what `begin` answers: functions. */
const RUN_HOOKS = [
  'limit',
  'riders',
  'answered',
  'inspect',
  'questions',
  'admit',
  'holds',
  'started',
  'ended',
  'joins',
  'marks',
  'isOver',
  'dueAt',
  'end',
] as const satisfies readonly (keyof RunPolicy)[]

/** @throws {Error} The hook threw; the message names its policy. */
export function callPolicyHook<T>(name: string, hook: () => T): T {
  try {
    return assertNotPromise(hook())
  } catch (error) {
    throw policyHookError(name, error)
  }
}

/** What a hook threw, as the error that ends the run. */
export function policyHookError(name: string, error: unknown): Error {
  const { name: kind, message } = errorTexts(error)
  return new Error(`Cannot go on: policy ${quotedValue(name)} failed: ${kind}: ${message}`, { cause: error })
}

/** @throws {TypeError} It is a promise: nobody waits for a hook. */
export function assertNotPromise<T>(answer: T): T {
  if (!isThenable(answer)) return answer
  ignoreRejection(answer)
  throw new TypeError('it must answer at once, got a promise')
}

/** @throws {TypeError} A hook that there is not, or that is no function. */
export function checkRunHooks(begun: RunPolicy | undefined): RunPolicy | undefined {
  if (assertNotPromise(begun) === undefined) return undefined
  if (typeof begun !== 'object' || begun === null)
    throw new TypeError('begin must answer an object of hooks, or nothing')
  const isPlain = [Object.prototype, null].includes(Object.getPrototypeOf(begun))
  const unknown = isPlain && Object.keys(begun).find((hook) => !RUN_HOOKS.includes(hook as never))
  if (unknown) throw new TypeError(`there is no hook ${quotedValue(unknown)}; there are ${RUN_HOOKS.join(', ')}`)
  for (const hook of RUN_HOOKS)
    if (begun[hook] !== undefined && !isSynchronousFunction(begun[hook]))
      throw new TypeError(`${hook} must be a function that answers at once`)
  return begun
}

export function checkDecisions(
  answer: readonly (Decision | undefined)[] | undefined,
  jobs: number,
  name: string,
): (CheckedPolicyDecision | undefined)[] {
  if (!Array.isArray(assertNotPromise(answer)) || (answer as readonly unknown[]).length > jobs)
    throw new TypeError('admit must answer an array of no more decisions than there are jobs')
  return (answer as readonly (Decision | undefined)[]).map((decision) => checkPolicyDecision(decision, name))
}

export function checkHookTime(time: unknown = Infinity): number {
  if (typeof time !== 'number' || Number.isNaN(time)) throw new TypeError('dueAt must answer a time in milliseconds')
  return time
}

export function checkHookLimit(limit: unknown): number {
  if (typeof limit !== 'number' || Number.isNaN(limit)) throw new TypeError('limit must answer a number')
  return Math.max(0, Math.floor(limit))
}
