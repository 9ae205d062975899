import { promiseOf } from './thenable.ts'

type Handle = (input: unknown, context: object) => unknown

/** What is known of one call of a wrapped handler. */
interface WrappedCall {
  hasBegun: boolean
  /** What the handler itself has yet to come to. */
  running: Promise<unknown> | undefined
}

const CALL = Symbol('call')

/**
 * Puts wraps around a handler, the first one outermost. Within one call the handler runs at most once, and is waited for whatever its wraps do.
 *
 * @throws {TypeError} A wrap gave no function.
 */
export function wrapAround(handler: Handle, wraps: readonly ((next: Handle) => Handle)[]): Handle {
  const next: Handle = (input, context) => {
    const call = (context as { [CALL]?: WrappedCall } | undefined)?.[CALL]
    if (!call)
      throw new TypeError('Cannot call the handler: next must be called with the context that its wrap was given')
    if (call.hasBegun) throw new TypeError('Cannot call the handler: next must be called once in a call, got it twice')
    call.hasBegun = true
    const answer = handler(input, context)
    const running = promiseOf(answer)
    if (!running) return answer
    call.running = running.finally(() => {
      call.running = undefined
    })
    call.running.catch(() => {}) // whoever calls next may look away
    return call.running
  }
  const outermost = wraps.reduceRight((inner, wrap) => made(wrap(inner)), next)
  return (input, context) => {
    const call: WrappedCall = { hasBegun: false, running: undefined }
    Object.defineProperty(context, CALL, { value: call, configurable: true })
    let answer: unknown
    try {
      answer = outermost(input, context)
    } catch (error) {
      if (!call.running) throw error
      return failAfter(call.running, error)
    }
    const promise = promiseOf(answer)
    if (!promise) return call.running ? call.running.then(() => answer) : answer
    return promise.then(
      // a wrap that has ended before its handler knows nothing of it: the handler's failure is the call's
      (value) => (call.running ? call.running.then(() => value) : value),
      (error: unknown) => failAfter(call.running, error),
    )
  }
}

function made(handle: Handle): Handle {
  if (typeof handle === 'function') return handle
  throw new TypeError(
    `Cannot wrap a handler: a wrap must return a function, as (next) => (event, context) => next(event, context), got ${typeof handle}`,
  )
}

/** What failed is failed, and settled once the handler does nothing more. */
async function failAfter(running: Promise<unknown> | undefined, error: unknown): Promise<never> {
  await running?.catch(() => {})
  throw error
}
