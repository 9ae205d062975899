import { readFileSync } from 'node:fs'
import type { ConsumerOptions } from 'millrace'
import { createPoller, defineConsumer, defineEvent, definePolicy, on, orderedBy, prioritized } from 'millrace'
import { invokeSelf } from 'millrace/lambda'
import { connectMemory } from 'millrace/testing'
import { expect, it, test, vi } from 'vitest'
import * as z from 'zod/mini'

const Paid = defineEvent('Paid', { payload: z.unknown() })
const order = orderedBy(({ aggregateId }) => aggregateId)

const define = (options: Partial<ConsumerOptions> = {}) =>
  defineConsumer({ stream: 'orders', group: 'billing', routes: [on(Paid, () => {})], use: [order], ...options })

const deployed = (source: object) => {
  vi.stubEnv('MILLRACE_EVENT_SOURCE', JSON.stringify([{ stream: 'orders', group: 'billing', ...source }]))
  try {
    return createPoller(define(), { redis: connectMemory() })
  } finally {
    vi.unstubAllEnvs()
  }
}

const TOO_MANY = /maxPollers must be <= 1, or left out: "orderedBy" lets no more run at once, got 4/

/** By the first cell of the table in docs/ordering.md: what module code does, and with which error it ends. */
const REFUSALS: Readonly<Record<string, readonly [load: () => unknown, why: RegExp]>> = {
  '`maxPollers` above 1': [() => define({ maxPollers: 4 }), TOO_MANY],
  '`maxPollers` above 1 of a deployment': [() => deployed({ maxPollers: 4 }), TOO_MANY],
  '`scaleOut`': [
    () =>
      createPoller(define(), {
        redis: connectMemory(),
        scaleOut: invokeSelf(),
      }),
    /scaleOut must be left out: "orderedBy" lets one poller run at a time/,
  ],
  '`allowLongHandlers`': [() => define({ allowLongHandlers: true }), /allowLongHandlers must be false/],
  'a set of streams, `prioritized()`': [
    () =>
      defineConsumer({
        stream: prioritized('jobs', ['high', 'low']),
        group: 'billing',
        routes: [on(Paid, () => {})],
        use: [order],
      }),
    /orderedBy is for a consumer of one stream/,
  ],
  "a route's `use`": [
    () => define({ use: [], routes: [on(Paid, () => {}, { use: [order] })] }),
    /"orderedBy" must be used on the consumer/,
  ],
  'another `orderedBy`': [
    () => define({ use: [order, orderedBy(() => 'a')] }),
    /use must have each policy once, got "orderedBy" twice/,
  ],
}

test.each(Object.entries(REFUSALS))('orderedBy() cannot be combined with %s', (_what, [load, why]) => {
  expect(load).toThrow(why)
})

test('docs/ordering.md names all that orderedBy() cannot be combined with', () => {
  const page = readFileSync('docs/ordering.md', 'utf8')
  const [, section = ''] = page.split('## What it cannot be combined with')
  const rows = section.split('\n## ')[0]?.match(/^\| .*$/gm) ?? []
  expect(rows.slice(2).map((row) => row.split(' | ')[0]?.slice(2))).toEqual(Object.keys(REFUSALS))
})

it('has one poller where nobody asks for more', () => {
  expect(define().settings.maxPollers).toBe(1)
  expect(define({ maxPollers: 1 }).settings.maxPollers).toBe(1)
})

it('lets a poller scale out for the other consumers that it has', () => {
  const other = defineConsumer({ stream: 'orders', group: 'search', routes: [on(Paid, () => {})] })
  const scaleOut = invokeSelf()
  expect(() => createPoller([define(), other], { redis: connectMemory(), scaleOut })).not.toThrow()
})

test('a policy lets a consumer ask for as many pollers as it allows, and no more', () => {
  const two = definePolicy({ name: 'two', maxPollers: 2 })
  expect(define({ use: [two] }).settings.maxPollers).toBe(2)
  expect(define({ use: [two], maxPollers: 1 }).settings.maxPollers).toBe(1)
  expect(() => define({ use: [two], maxPollers: 3 })).toThrow(/"two" lets no more run at once, got 3/)
})
