import type { Codec, Policy, PolicyDefinition } from 'millrace'
import { defineConsumer, on } from 'millrace'
import { describe, expect, it } from 'vitest'
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

const guarded = (key: string, holds = 'all'): PolicyDefinition => ({
  name: 'guarded',
  guard: () => ({ key, holds: holds as 'all' }),
})

describe('defineConsumer() refuses', () => {
  it.each<[string, () => unknown, string]>([
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
    ['an inherited hook that is none', () => define([Object.create({ name: 'a', begin: 5 })]), 'begin of "a" must be'],
    [
      'a begin that is async',
      () => define([{ name: 'a', async begin() {} }]),
      'must be a function that answers at once',
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
    expect(() => define([{ name: 'a', excludes: ['a'] }])).not.toThrow()
  })
})
