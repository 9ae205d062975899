import { quotedValue } from '../errors.ts'
import { errorTexts } from './dead-letter/dead-letter.ts'
import { assertAwaitableFunction } from './handler-function.ts'
import { wrongUseError } from './options.ts'
import { ignoreRejection, promiseIfThenable } from './thenable.ts'

type Handle = (input: unknown, context: object) => unknown

/** A wrap, and the name that messages give it. */
export interface NamedWrap {
  readonly name: string
  wrap(next: Handle): unknown
}

/** What is known of one call of a wrapped handler. */
interface WrappedCall {
  readonly context: { readonly signal?: AbortSignal }
  hasBegun: boolean
  /** Its wraps have answered. */
  hasEnded: boolean
  /** What `next` gave that was not there at once. */
  readonly given: Given[]
}

const CALL = Symbol('call')

/**
 * Puts wraps around a handler, the first one outermost. Within one call, and its time, the handler runs at most once, and is waited for whatever its
 * wraps do.
 *
 * @throws {TypeError} A wrap threw, or gave no function whose end can be waited for.
 */
export function wrapHandler(handler: Handle, wraps: readonly NamedWrap[]): Handle {
  const outermost = wraps.reduceRight(around, innermost(handler))
  return (input, context) => {
    const call: WrappedCall = { context, hasBegun: false, hasEnded: false, given: [] }
    Object.defineProperty(context, CALL, { value: call, configurable: true })
    try {
      const answer = outermost(input, context)
      const promise = promiseIfThenable(answer)
      if (promise) {
        return promise.then(
          (value) => succeed(call, value),
          (error: unknown) => fail(call, error),
        )
      }
      if (call.given.length > 0) return succeed(call, answer)
      call.hasEnded = true
      return answer
    } catch (error) {
      if (call.given.length > 0) return fail(call, error)
      call.hasEnded = true
      throw error
    }
  }
}

/** The `next` of the innermost wrap: calls the handler. */
function innermost(handler: Handle): Handle {
  return (input, context) => {
    const call = (context as { [CALL]?: WrappedCall } | undefined)?.[CALL]
    if (!call) throw wrongUseError('call the handler', 'next must be called with the context that its wrap was given')
    const refusal = refusalOf(call)
    if (refusal !== undefined) {
      const refused = new Given(Promise.reject(wrongUseError('call the handler', refusal)))
      call.given.push(refused)
      return refused
    }
    call.hasBegun = true
    const answer = handler(input, context)
    const running = promiseIfThenable(answer)
    if (!running) return answer
    const given = new Given(running)
    call.given.push(given)
    return given
  }
}

function around(inner: Handle, policy: NamedWrap): Handle {
  const action = `wrap a handler with ${quotedValue(policy.name)}`
  let handle: unknown
  try {
    handle = policy.wrap(inner)
  } catch (error) {
    const { name, message } = errorTexts(error)
    const advice = message.startsWith('Cannot make ') ? toCall(policy) : ''
    throw new TypeError(`Cannot ${action}: ${name}: ${message}${advice}`, { cause: error })
  }
  ignoreRejection(handle)
  if (typeof handle !== 'function')
    throw wrongUseError(
      action,
      `a wrap must return a function, as (next) => (event, context) => next(event, context), got ${typeof handle}${
        typeof handle === 'object' && handle !== null ? toCall(policy) : ''
      }`,
    )
  assertAwaitableFunction(action, 'what it returns', handle, 'event, context')
  return handle as Handle
}

/** For what makes a policy and stands in a list without having been called. */
function toCall({ name }: NamedWrap): string {
  return `; if ${name} makes a policy, call it: use: [${name}(…)]`
}

/** Why the handler is not called now. */
function refusalOf(call: WrappedCall): string | undefined {
  if (call.hasBegun) return 'next must be called once in a call, got it twice'
  if (call.hasEnded) return 'next must be called before its wrap ends'
  if (call.context.signal?.aborted) return 'its time is over'
  return undefined
}

/** What `next` gives. A failure that its wrap never awaited is the call's. */
class Given extends Promise<unknown> {
  static override get [Symbol.species]() {
    return Promise
  }

  isLookedAt = false
  isSettled = false
  failure: { readonly error: unknown } | undefined = undefined
  readonly settled: Promise<void>

  constructor(running: PromiseLike<unknown>) {
    super((resolve) => resolve(running))
    this.settled = super.then(
      () => {
        this.isSettled = true
      },
      (error: unknown) => {
        this.isSettled = true
        this.failure = { error }
      },
    )
  }

  /* oxlint-disable unicorn/no-thenable -- whoever waits for it calls this */
  // biome-ignore lint/suspicious/noThenProperty: the same
  override then<Value = unknown, Other = never>(
    onfulfilled?: ((value: unknown) => Value | PromiseLike<Value>) | null,
    onrejected?: ((error: unknown) => Other | PromiseLike<Other>) | null,
  ): Promise<Value | Other> {
    this.isLookedAt = true
    return super.then(onfulfilled, onrejected)
  }
}

/** A wrap has ended well: of what failed it knows nothing where it did not look, or ended before. */
async function succeed(call: WrappedCall, value: unknown): Promise<unknown> {
  call.hasEnded = true
  const late = call.given.filter(({ isSettled }) => !isSettled)
  await Promise.all(call.given.map(({ settled }) => settled))
  const missed = call.given.find((given) => given.failure && (!given.isLookedAt || late.includes(given)))
  if (missed?.failure) throw missed.failure.error
  return value
}

/** What failed is failed, and settled once the handler does nothing more. */
async function fail(call: WrappedCall, error: unknown): Promise<never> {
  call.hasEnded = true
  await Promise.all(call.given.map(({ settled }) => settled))
  throw error
}
