import { assertFunction, wrongUseError } from './options.ts'

/** Functions that only make what would have to be run, by what `Object.prototype.toString` says of them, also bound and of another realm. */
const MAKES: Readonly<Record<string, string>> = {
  '[object GeneratorFunction]': 'a generator function',
  '[object AsyncGeneratorFunction]': 'an async generator function',
}

/**
 * Checks that the end of a function can be waited for: it takes two arguments, and returns once it is done or gives a promise.
 *
 * @param takes What it is called with, as messages show it.
 * @throws {TypeError} No function, or one with a callback, a generator function, or a class.
 */
export function assertAwaitableFunction(action: string, name: string, value: unknown, takes: string): void {
  assertFunction(action, name, value)
  const made = madeBy(value as object)
  if (made !== undefined) throw wrongUseError(action, `${name} must be a function or an async function, got ${made}`)
  const { length } = value as { readonly length: number }
  if (length > 2) {
    throw wrongUseError(
      action,
      `${name} must take (${takes}) and return a promise, got a function of ${length} parameters; no callback is passed, so make it async and return its result`,
    )
  }
}

/** What calling it makes in place of doing something. */
function madeBy(value: object): string | undefined {
  const made = MAKES[Object.prototype.toString.call(value)]
  if (made !== undefined) return `${made}, which does nothing when it is called; make it async and await what it yields`
  return isClass(value) ? 'a class; pass a function that calls the method of an instance' : undefined
}

/** Whether calling it without `new` throws. */
function isClass(value: object): boolean {
  const isFixed = Object.getOwnPropertyDescriptor(value, 'prototype')?.writable === false
  return isFixed && /^class[\s{]/.test(Function.prototype.toString.call(value))
}

/** Whether it is a function that can be called, neither async nor a generator: the engine waits for no hook. */
export function isSynchronousFunction(value: unknown): boolean {
  if (typeof value !== 'function' || isClass(value)) return false
  return !/(?:Async|Generator)/.test(Object.prototype.toString.call(value))
}
