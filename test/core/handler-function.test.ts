import { runInNewContext } from 'node:vm'
import middy from '@middy/core'
import { describe, expect, test } from 'vitest'
import * as z from 'zod/mini'
import { defineConsumer, defineEvent, on, onBatch } from '../../src/index.ts'

const OrderPaid = defineEvent('OrderPaid', { payload: z.object({ orderId: z.string() }) })

const ROUTES = [
  { route: 'on()', make: (handler: unknown) => on(OrderPaid, handler as () => void) },
  { route: 'onBatch()', make: (handler: unknown) => onBatch(OrderPaid, handler as () => void) },
] as const

const withCallback = (_event: unknown, _context: unknown, callback: () => void) => callback()
function* generator() {}
async function* asyncGenerator() {}
class Handler {
  handle() {}
}

const REFUSED: readonly [what: string, handler: unknown, message: RegExp][] = [
  [
    'a callback',
    withCallback,
    /must take \(events?, context\) and return a promise, got a function of 3 parameters; no callback is passed, so make it async/,
  ],
  ['a bound callback', withCallback.bind(undefined), /3 parameters/],
  ['an async function of three', async (_a: unknown, _b: unknown, _c: unknown) => {}, /3 parameters/],
  ['four parameters', (_a: unknown, _b: unknown, _c: unknown, _d: unknown) => {}, /4 parameters/],
  ['a callback behind a Proxy', new Proxy(withCallback, {}), /3 parameters/],
  ['a generator', generator, /got a generator function, which does nothing when it is called; make it async/],
  ['a bound generator', generator.bind(undefined), /got a generator function/],
  ['a generator of another realm', runInNewContext('(function* () {})'), /got a generator function/],
  ['an async generator', asyncGenerator, /got an async generator function/],
  ['a generator method', { *handle() {} }.handle, /got a generator function/],
  ['a class', Handler, /got a class; pass a function that calls the method of an instance/],
  ['a class of another realm', runInNewContext('(class { })'), /got a class/],
]

const TAKEN: readonly [what: string, handler: unknown][] = [
  ['a function', () => {}],
  ['an async function', async (_event: unknown, _context: unknown) => {}],
  ['a function with a default', (_event: unknown, _context: unknown, _more = 1) => {}],
  ['a function of any number', (..._all: unknown[]) => {}],
  ['a bound function that was given its first argument', withCallback.bind(undefined, 1 as never)],
  ['what Middy wraps', middy(async () => {})],
  [
    'what Middy wraps, with the signal that Middy passes',
    middy(async (_event: unknown, _context: unknown, { signal: _signal }: { signal: AbortSignal }) => {}),
  ],
  ['a method named class', { class(_event: unknown) {} }.class],
  ['a function that is frozen', Object.freeze(function handle() {})],
  ['an old constructor', function Old() {}],
]

describe.each(ROUTES)('$route', ({ make }) => {
  test.each(REFUSED)('refuses %s', (_what, handler, message) => {
    expect(() => make(handler)).toThrow(TypeError)
    expect(() => make(handler)).toThrow(message)
  })

  test.each(TAKEN)('takes %s', (_what, handler) => {
    expect(make(handler)).toMatchObject({ handler })
  })
})

test.each(REFUSED)('defineConsumer() refuses an onDeadLetter that is %s', (_what, onDeadLetter) => {
  const options = { stream: 'orders', group: 'billing', routes: [on(OrderPaid, () => {})] }
  expect(() => defineConsumer({ ...options, onDeadLetter: onDeadLetter as () => void })).toThrow(/onDeadLetter must/)
})
