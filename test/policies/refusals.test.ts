import type { Codec, Policy, PolicyDefinition, RouteOptions } from 'millrace'
import {
  circuitBreaker,
  concurrencyLimit,
  defineConsumer,
  defineEvent,
  definePolicy,
  idempotent,
  on,
  orderedBy,
  rateLimit,
} from 'millrace'
import { describe, expect, it } from 'vitest'
import * as z from 'zod/mini'
import { Paid } from './world.ts'

const wrap = (next: (event: unknown, context: unknown) => unknown) => (event: unknown, context: unknown) =>
  next(event, context)

function define(own: unknown, ofRoute?: unknown, codec?: Codec) {
  const route = on(Paid, () => {}, ofRoute === undefined ? {} : { use: ofRoute as Policy[] })
  return defineConsumer({
    stream: 'orders',
    group: 'billing',
    routes: [route],
    use: own as Policy[],
    ...(codec && { codec }),
  })
}

const guarded = (key: string, holds = 'all'): Policy =>
  definePolicy({
    name: 'guarded',
    guard: () => ({ key, holds: holds as 'all' }),
  })

describe('defineConsumer() refuses', () => {
  it.each<[string, () => unknown, string]>([
    ...Object.entries({ circuitBreaker, concurrencyLimit, idempotent, orderedBy, rateLimit }).map(
      ([name, make]): [string, () => unknown, string] => [
        `${name} that was not called`,
        () => define([make]),
        `; if ${name} makes a policy, call it: use: [${name}(…)]`,
      ],
    ),
    ['a hole in a list', () => define(Object.assign([], { length: 1 })), 'use[0] must be a policy'],
    ['a class', () => define([class Counting {}]), 'use[0] must be a function or an async function, got a class'],
    ['a generator', () => define([function* wraps() {}]), 'use[0] must be a function or an async function'],
    ['a wrap that gives a generator', () => define([() => function* () {}]), 'what it returns must be a function'],
    ['a wrap that gives a promise', () => define([async () => wrap(() => {})]), 'a wrap must return a function'],
    [
      'a wrap that throws',
      () =>
        define([
          function timed() {
            throw new Error('shut')
          },
        ]),
      'Cannot wrap a handler with "timed": Error: shut',
    ],
    ['the same wrap on consumer and route', () => define([wrap], [wrap]), '"wrap" must be used on the consumer or on'],
    [
      'a plain object',
      () => define([{ name: 'plain', begin: () => undefined }]),
      'use[0], "plain", must be a policy: a function around the handler, or from definePolicy({ … })',
    ],
    ['a plain object on a route', () => define([], [{ name: 'plain' }]), 'route for "Paid": use[0], "plain", must be'],
    [
      'a copy of a policy',
      () => define([Object.assign({}, guarded('{orders}:g'))]),
      'use[0], "guarded", must be a policy',
    ],
    ['an heir of a policy', () => define([Object.create(guarded('{orders}:g'))]), 'use[0], "guarded", must be'],
    [
      'a policy of another version of the package',
      () => define([{ name: 'old', [Symbol.for('millrace.policies.0')]: {} }]),
      'use[0], "old", must be a policy',
    ],
    [
      'the same policy on consumer and route',
      () => {
        const once = definePolicy({ name: 'once' })
        return define([once], [once])
      },
      '"once" must be used on the consumer or on "Paid", not on both',
    ],
    [
      'a policy that excludes a wrap',
      () => define([wrap, definePolicy({ name: 'alone', excludes: ['wrap'] })]),
      '"alone" cannot be combined with "wrap"',
    ],
    ['a guard in another hash slot', () => define([guarded('elsewhere')]), "a key in the stream's hash slot"],
    ['a guard of another kind', () => define([guarded('{orders}:g', 'some')]), "'all' or 'types'"],
    ['a guard of a route', () => define([], [guarded('{orders}:g')]), 'must be used on the consumer, got it on "Paid"'],
    [
      'types to guard where the codec names no field for them',
      () => define([guarded('{orders}:g', 'types')], undefined, { decode: () => ({ type: 'Paid', payload: {} }) }),
      'the codec has no typeField',
    ],
  ])('%s', (_title, act, message) => {
    expect(act).toThrow(expect.objectContaining({ name: 'TypeError', message: expect.stringContaining(message) }))
  })

  it('none that excludes others of its kind and is alone', () => {
    expect(() => define([definePolicy({ name: 'a', excludes: ['a'] })])).not.toThrow()
  })
})

describe('definePolicy() refuses', () => {
  it.each<[string, unknown, string]>([
    ['nothing', undefined, 'Cannot define a policy: it must be an object with a name and hooks'],
    ['a wrap', wrap, 'a function around the handler is one by itself'],
    ['no name', { begin: () => undefined }, 'Cannot define a policy: name must be a string'],
    ['a name that is empty', { name: '' }, 'name must be a string'],
    ['a hook that there is not', { name: 'a', wraps: wrap }, 'Cannot define policy "a": there is no hook "wraps"'],
    ['an inherited hook that is none', Object.create({ name: 'a', begin: 5 }), 'begin must be a function'],
    ['a begin that is async', { name: 'a', async begin() {} }, 'begin must be a function that answers at once'],
    ['no pollers at all', { name: 'a', maxPollers: 0 }, 'maxPollers must be a whole number >= 1'],
    ['excludes that are no names', { name: 'a', excludes: 'b' }, 'excludes must be an array of names'],
  ])('%s', (_title, definition, message) => {
    const act = () => definePolicy(definition as PolicyDefinition)

    expect(act).toThrow(expect.objectContaining({ name: 'TypeError', message: expect.stringContaining(message) }))
  })
})

it('definePolicy() gives what nobody can change', () => {
  const definition = { name: 'a', excludes: ['b'] }
  const policy = definePolicy(definition) as unknown as { readonly excludes: string[] }
  definition.name = 'changed'

  expect(policy).toEqual({ name: 'a', excludes: ['b'] })
  expect([Object.isFrozen(policy), Object.isFrozen(policy.excludes)]).toEqual([true, true])
})

/** The calls of one entry and the waits between them, each as long as it may be. */
function longestRetriesMs({ maxDeliveries = 5, handlerTimeoutMs = 10_000, backoff = {} }: RouteOptions): number {
  const { firstMs = 1_000, factor = 2, maxMs = 60_000 } = backoff
  let sum = maxDeliveries * handlerTimeoutMs
  for (let n = 0; n < maxDeliveries - 1; n++) sum += Math.ceil(Math.min(firstMs * factor ** n * 1.2, maxMs))
  return sum
}

describe('idempotent() names at once a ttlMs that does', () => {
  it.each<[where: string, options: RouteOptions, routes: readonly RouteOptions[]]>([
    ['by default', {}, []],
    ['where nothing is retried', { maxDeliveries: 1 }, []],
    ['where waits do not grow', { backoff: { factor: 1 } }, []],
    ['where there are no waits', { backoff: { firstMs: 0 } }, []],
    ['where waits reach their longest', { maxDeliveries: 50 }, []],
    ['where waits never reach their longest', { maxDeliveries: 7, backoff: { firstMs: 7, factor: 1.3 } }, []],
    ['where many are retried', { maxDeliveries: 100_000, backoff: { factor: 1.0001 } }, []],
    ['of routes that differ', {}, [{ maxDeliveries: 2 }, { maxDeliveries: 9 }, { handlerTimeoutMs: 20_000 }]],
  ])('%s', (_where, options, routes) => {
    const events = [Paid, ...routes.map((_route, n) => defineEvent(`E${n}`, { payload: z.any() }))]
    const defined = (ttlMs: number) =>
      defineConsumer({
        stream: 'orders',
        group: 'billing',
        routes: events.map((event, n) => on(event as typeof Paid, () => {}, routes[n - 1])),
        ...options,
        use: [idempotent({ ttlMs })],
      })
    const enough = Math.max(...[{}, ...routes].map((route) => longestRetriesMs({ ...options, ...route })))

    for (const ttlMs of [1, enough - 1]) expect(() => defined(ttlMs)).toThrow(`here ${enough} or more, got ${ttlMs}`)
    expect(() => defined(enough)).not.toThrow()
  })
})
