import { batchFailures } from './batch-answer.ts'
import { ignoreRejectionsWithin, isThenable } from './thenable.ts'

/** Things that are yet to be run or read to their end, by the members that they have. */
const UNDONE: readonly (readonly [what: string, is: (members: Members) => boolean])[] = [
  ['a generator', ({ next, throw: thrown }) => isFunction(next) && isFunction(thrown)],
  [
    'an iterator that is yet to be run',
    (members) => Object.prototype.toString.call(members) === '[object Iterator Helper]',
  ],
  ['an async iterable', (members) => isFunction(members[Symbol.asyncIterator])],
  [
    'a stream',
    ({ pipe, on, getReader, getWriter }) => (isFunction(pipe) && isFunction(on)) || isFunction(getReader ?? getWriter),
  ],
]

type Members = Readonly<Record<PropertyKey, unknown>>

/**
 * Judges what the handler of one event answered. That is ignored, but for two things: `batchItemFailures`, which counts as it does for a batch
 * of this one entry, and what nobody has waited for, such as a stream, or promises in an array.
 *
 * @throws {TypeError} What it answered is not done.
 * @throws {BatchAnswerInvalidError} Its `batchItemFailures` are none of AWS's.
 * @throws {unknown} What it says the entry failed with.
 */
export function assertHandlerAnswer(answer: unknown, entryId: string): void {
  if (typeof answer !== 'object' || answer === null) return
  for (const [what, is] of UNDONE)
    if (is(answer as Members))
      throw new TypeError(`A handler must not answer ${what}, which nobody runs to its end: await that in the handler`)
  if (holdsPromises(answer)) {
    ignoreRejectionsWithin(answer)
    throw new TypeError(
      'A handler must not answer promises in an array, a Set or a Map, which nobody waits for: await Promise.all(…) in the handler',
    )
  }
  if (!('batchItemFailures' in answer)) return
  const failures = batchFailures({ batchItemFailures: answer.batchItemFailures }, [entryId])
  if (failures.has(entryId)) throw failures.get(entryId)
}

/** Also in arrays of an array. An array's own members only: one may be billions long and have none. */
function holdsPromises(answer: object): boolean {
  if (answer instanceof Set || answer instanceof Map) return [...answer.values()].some(isThenable)
  if (!Array.isArray(answer)) return false
  return Object.values(answer).some(
    (one) => isThenable(one) || (Array.isArray(one) && Object.values(one).some(isThenable)),
  )
}

function isFunction(value: unknown): boolean {
  return typeof value === 'function'
}
