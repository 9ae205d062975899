import { describeError } from '../core/dead-letter/dead-letter.ts'
import { answersAtOnce } from '../core/handler-function.ts'
import { isThenable, silence } from '../core/thenable.ts'
import type { Decision, RunPolicy } from '../define/policy.ts'
import { quoted } from '../errors.ts'
import type { Decided } from '../run/decided.ts'
import { checkedDecision } from '../run/decided.ts'

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
  'isOver',
  'dueAt',
  'end',
] as const satisfies readonly (keyof RunPolicy)[]

/** @throws {Error} The hook threw; the message names its policy. */
export function hooked<T>(name: string, hook: () => T): T {
  try {
    return atOnce(hook())
  } catch (error) {
    const { name: kind, message } = describeError(error)
    throw new Error(`Cannot go on: policy ${quoted(name)} failed: ${kind}: ${message}`, { cause: error })
  }
}

/** @throws {TypeError} It is a promise: nobody waits for a hook. */
export function atOnce<T>(answer: T): T {
  if (!isThenable(answer)) return answer
  silence(answer)
  throw new TypeError('it must answer at once, got a promise')
}

/** @throws {TypeError} A hook that there is not, or that is no function. */
export function checkedHooks(begun: RunPolicy | undefined): RunPolicy | undefined {
  if (atOnce(begun) === undefined) return undefined
  if (typeof begun !== 'object' || begun === null)
    throw new TypeError('begin must answer an object of hooks, or nothing')
  const isPlain = [Object.prototype, null].includes(Object.getPrototypeOf(begun))
  const unknown = isPlain && Object.keys(begun).find((hook) => !RUN_HOOKS.includes(hook as never))
  if (unknown) throw new TypeError(`there is no hook ${quoted(unknown)}; there are ${RUN_HOOKS.join(', ')}`)
  for (const hook of RUN_HOOKS)
    if (begun[hook] !== undefined && !answersAtOnce(begun[hook]))
      throw new TypeError(`${hook} must be a function that answers at once`)
  return begun
}

export function decisionsOf(
  answer: readonly (Decision | undefined)[] | undefined,
  jobs: number,
  name: string,
): (Decided | undefined)[] {
  if (!Array.isArray(atOnce(answer)) || (answer as readonly unknown[]).length > jobs)
    throw new TypeError('admit must answer an array of no more decisions than there are jobs')
  return (answer as readonly (Decision | undefined)[]).map((decision) => checkedDecision(decision, name))
}

export function timeFrom(time: unknown = Infinity): number {
  if (typeof time !== 'number' || Number.isNaN(time)) throw new TypeError('dueAt must answer a time in milliseconds')
  return time
}

export function wholeFrom(limit: unknown): number {
  if (typeof limit !== 'number' || Number.isNaN(limit)) throw new TypeError('limit must answer a number')
  return Math.max(0, Math.floor(limit))
}
