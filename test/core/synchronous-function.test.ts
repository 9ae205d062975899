import { runInNewContext } from 'node:vm'
import type { PolicyDefinition } from 'millrace'
import {
  circuitBreaker,
  concurrencyLimit,
  defineEvent,
  definePolicy,
  idempotent,
  on,
  onBatch,
  orderedBy,
  rateLimit,
} from 'millrace'
import { describe, expect, it, test } from 'vitest'
import * as z from 'zod/mini'
import { checkRunHooks } from '../../src/policies/hook-answers.ts'

const Paid = defineEvent('Paid', { payload: z.object({}) })

/** What is asked for a function that is called without `new`, and answers at once. */
const OPTIONS: Readonly<Record<string, (given: never) => unknown>> = {
  'the key of orderedBy()': (given) => orderedBy(given),
  'by of idempotent()': (by) => idempotent({ ttlMs: 1_000, by }),
  'by of rateLimit()': (by) => rateLimit({ max: 1, perMs: 1_000, by }),
  'by of concurrencyLimit()': (by) => concurrencyLimit({ max: 1, by }),
  'when of circuitBreaker()': (when) => circuitBreaker({ failures: 1, perMs: 1_000, probeAfterMs: 1_000, when }),
  'when of on()': (when) => on(Paid, () => {}, { when }),
  'when of onBatch()': (when) => onBatch(Paid, () => {}, { when }),
  ...Object.fromEntries(
    ['begin', 'needs', 'guard', 'wrap', 'assertFits'].map((hook) => [
      `${hook} of definePolicy()`,
      (given: never) => definePolicy({ name: 'a', [hook]: given } as PolicyDefinition),
    ]),
  ),
  'a hook that begin gives': (holds) => checkRunHooks({ holds }),
}

const REFUSED: Readonly<Record<string, unknown>> = {
  'a class': class {},
  'a class with a method': class {
    key() {}
  },
  'a class of another realm': runInNewContext('(class { })'),
  'an async function': async () => 'a',
  'a generator': function* () {},
  'a text': 'a',
}

describe.each(Object.entries(OPTIONS))('%s', (_name, make) => {
  test.each(Object.entries(REFUSED))('refuses %s', (_what, given) => {
    expect(() => make(given as never)).toThrow(
      expect.objectContaining({ name: 'TypeError', message: expect.stringMatching(/function/) }),
    )
  })

  it.each([
    ['a function', () => 'a'],
    ['an old constructor', function Old() {}],
    ['a method named class', { class: () => 'a' }.class],
  ])('takes %s', (_what, given) => {
    expect(() => make(given as never)).not.toThrow()
  })
})
