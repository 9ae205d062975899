import { circuitBreaker, concurrencyLimit, defineConsumer, defineEvent, on, onBatch, rateLimit } from 'millrace'
import { expect, test } from 'vitest'
import * as z from 'zod/mini'
import type { FlowRule } from '../../src/policies/flow/flow-rules.ts'
import { scopeOf } from '../../src/policies/flow/flow-rules.ts'

const named = (type: string) => defineEvent(type, { payload: z.object({}) })
const turn = (eventType?: string): FlowRule => ({
  kind: 'turn',
  eventType,
  policy: 'rateLimit',
  max: 1,
  perMs: 1_000,
  nameOf: () => undefined,
})

test('limits of event types of any name have names of their own', () => {
  const scopes = [
    scopeOf([], 'turn', undefined),
    scopeOf([], 'turn', '*'),
    scopeOf([turn('A')], 'turn', 'A'),
    scopeOf([], 'turn', 'A~2'),
    scopeOf([], 'turn', 'A%7E2'),
    scopeOf([], 'turn', 'A:b'),
  ]

  expect(new Set(scopes).size).toBe(scopes.length)
  expect(scopes.slice(0, 3)).toEqual(['*', '%2A', 'A~2'])
})

const rate = rateLimit({ max: 1, perMs: 1_000 })
const batch = onBatch(named('Shipped'), () => {})

test.each([
  ['rateLimit() of the consumer with a batch route', { use: [rate], routes: [on(named('Paid'), () => {}), batch] }],
  ['rateLimit() of a batch route', { routes: [onBatch(named('Shipped'), () => {}, { use: [rate] })] }],
])('%s is refused when the module loads', (_title, options) => {
  expect(() => defineConsumer({ stream: 'orders', group: 'billing', ...options })).toThrow(
    'Cannot define consumer "billing" on stream "orders": "rateLimit": it must be used on routes of one event a call, got the batch route of "Shipped": its events start together',
  )
})

test('a concurrencyLimit() that nothing reaches is refused by the routes that it holds for', () => {
  const limit = concurrencyLimit({ max: 7 })
  const define = (routes: readonly Parameters<typeof defineConsumer>[0]['routes'][number][]) => () =>
    defineConsumer({ stream: 'orders', group: 'billing', concurrency: 1, use: [limit], routes: [...routes] })

  expect(define([on(named('Paid'), () => {})])).toThrow('max must be <= 6')
  expect(define([on(named('Paid'), () => {}), batch])).not.toThrow()
})

test('two circuit breakers for one event are refused when the module loads', () => {
  const breaker = () => circuitBreaker({ failures: 1, perMs: 1_000, probeAfterMs: 1_000 })
  const routes = [on(named('Paid'), () => {}, { use: [breaker()] })]

  expect(() => defineConsumer({ stream: 'orders', group: 'billing', use: [breaker()], routes })).toThrow(
    'an event must have one policy like "circuitBreaker"',
  )
})
