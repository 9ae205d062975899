/** Whether a value is a promise, also one of another library or realm. */
export function isThenable<T>(value: T | PromiseLike<T>): value is PromiseLike<T> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === 'function'
}

/**
 * A value as a promise, if it is one of any library or realm. Its `then` is read once, since it may be a getter that says something else the
 * next time, and a `then` that is an async function of its own leaves no rejection to nobody.
 *
 * @throws {unknown} What reading `then` throws.
 */
export function promiseIfThenable<T>(value: T | PromiseLike<T>): Promise<T> | undefined {
  if ((typeof value !== 'object' || value === null) && typeof value !== 'function') return undefined
  const { then } = value as { readonly then?: unknown }
  if (typeof then !== 'function') return undefined
  if (then === Promise.prototype.then && value instanceof Promise) return value
  return new Promise((resolve, reject) => {
    const answered: unknown = Reflect.apply(then, value, [resolve, reject])
    if (isThenable(answered)) answered.then(undefined, reject)
  })
}

/** Members of a value that are inspected, and how deep, for promises that nobody waits for. */
const LOOK = { members: 10_000, depth: 3 }

/** Silences a value that is refused, and the promises in it. */
export function ignoreRejectionsWithin(value: unknown, depth = LOOK.depth): void {
  ignoreRejection(value)
  if (typeof value !== 'object' || value === null || depth === 0) return
  try {
    const members = value instanceof Set || value instanceof Map ? [...value.values()] : Object.values(value)
    for (const member of members.slice(0, LOOK.members)) ignoreRejectionsWithin(member, depth - 1)
  } catch {} // then nobody reads it
}

/** Sees to it that nobody hears of what a promise comes to that should not have been one: a rejection would end the process. */
export function ignoreRejection(value: unknown): void {
  try {
    promiseIfThenable(value)?.catch(() => {})
  } catch {} // then it is none
}
