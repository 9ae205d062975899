import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import * as zod from 'zod'
import * as z from 'zod/mini'
import { errorTexts } from '../../src/core/dead-letter/dead-letter.ts'
import { invalidPayloadError as invalid } from '../../src/core/invalid-payload.ts'
import { readSchemaResult } from '../../src/core/issues.ts'
import { defineEvent } from '../../src/define/event.ts'

const Order = defineEvent('Order', {
  payload: z.object({
    orderId: z.string(),
    note: z.optional(z.string()),
    lines: z.optional(z.array(z.object({ sku: z.string() }))),
    byCustomer: z.optional(z.record(z.string(), z.object({ amount: z.number() }))),
  }),
})

/** The error of a payload, as the schema refuses it. */
function errorOf(event: ReturnType<typeof defineEvent>, payload: unknown) {
  const result = event.payload['~standard'].validate(payload)
  if (result instanceof Promise || !result.issues) throw new Error('the schema takes it')
  return invalidPayload(event, result, payload)
}

function invalidPayload(event: ReturnType<typeof defineEvent>, result: unknown, payload: unknown) {
  return invalid(event, readSchemaResult(result).issues ?? [], payload)
}

describe('invalidPayloadError()', () => {
  test.each<[refused: string, payload: unknown]>([
    ['orderId', { orderId: 5 }],
    ['orderId, note', { note: 5 }],
    ['lines.1.sku', { orderId: 'o', lines: [{ sku: 's' }, { sku: 5 }] }],
    ['byCustomer.*.amount', { orderId: 'o', byCustomer: { 'bob@example.com': { amount: 'much' } } }],
    ['the payload itself', 'bob@example.com'],
  ])('names %s, by the schema’s own names', (refused, payload) => {
    expect(errorOf(Order, payload).message).toBe(`Payload of "Order" must fit its schema, which refuses ${refused}`)
  })

  test('leaves out a library’s sentence that quotes a key, and keeps it in its issues', () => {
    const Strict = defineEvent('Strict', { payload: zod.strictObject({ a: zod.number() }) })
    const error = errorOf(Strict, { a: 1, 'bob@example.com': 1 })

    expect(errorTexts(error, () => '').message).not.toContain('bob')
    expect(error.shown).toEqual([{ path: '', message: undefined }])
    expect(error.issues).toEqual([{ path: '', message: 'Unrecognized key: "bob@example.com"' }])
  })

  test('shows a library’s sentence that quotes nothing', () => {
    const Age = defineEvent('Age', { payload: zod.object({ age: zod.number() }) })

    expect(errorOf(Age, { age: '9' }).shown).toEqual([
      { path: 'age', message: 'Invalid input: expected number, received string' },
    ])
  })

  test('names what a schema of the user’s own misses in an empty object', () => {
    const own = defineEvent('Own', {
      payload: {
        '~standard': {
          version: 1,
          vendor: 'own',
          validate: (value: unknown) => ({
            issues: Object.hasOwn(value as object, 'orderId')
              ? Object.keys(value as object).map((key) => ({ message: `no ${key}`, path: [key] }))
              : [{ message: 'missing', path: ['orderId'] }],
          }),
        },
      },
    })

    expect(errorOf(own, { orderId: 1, 'bob@example.com': 2 }).message).toContain('which refuses orderId, *')
  })

  test('names ten issues, and the number of the others', () => {
    const payload = { orderId: 'o', lines: Array.from({ length: 5_000 }, () => ({ sku: 5 })) }

    expect(errorOf(Order, payload).message).toMatch(/lines\.9\.sku, many more$/)
    expect(errorOf(Order, { ...payload, lines: payload.lines.slice(0, 50) }).message).toMatch(/lines\.9\.sku, 40 more$/)
  })

  test('quotes no four characters of an input’s key or value beyond the schema’s own words', () => {
    const schemas = [
      zod.strictObject({}),
      zod.record(zod.string(), zod.number()),
      zod.record(zod.email(), zod.strictObject({ id: zod.number() })),
      zod.literal(['one', 'two']),
      zod.json().refine(() => false, { error: ({ input }) => `not ${JSON.stringify(input)}` }),
      zod.any().check((ctx) => {
        ctx.issues.push({
          code: 'custom',
          input: ctx.value,
          path: [JSON.stringify(ctx.value)],
          message: `got ${JSON.stringify(ctx.value)}`,
        })
      }),
    ]
    const secret = fc.stringMatching(/^[Q-Z0-9@äöü"\\\n]{4,30}$/)
    const json = fc.letrec((tie) => ({
      value: fc.oneof(
        secret,
        fc.array(tie('value'), { maxLength: 3 }),
        fc.dictionary(secret, tie('value'), { maxKeys: 3 }),
      ),
    })).value
    fc.assert(
      fc.property(fc.constantFrom(...schemas), json, (schema, payload) => {
        const event = defineEvent('E', { payload: schema as unknown as typeof Order.payload })
        const result = event.payload['~standard'].validate(payload) as { issues?: never[] }
        if (!result.issues) return
        const error = invalidPayload(event, result, payload)
        const said = [error.message, JSON.stringify(error.shown), error.stack, errorTexts(error).message].join('\n')
        for (const text of textsOf(payload))
          for (let at = 0; at + 4 <= text.length; at++) expect(said).not.toContain(text.slice(at, at + 4))
      }),
      { numRuns: 500 },
    )
  })
})

function textsOf(value: unknown): string[] {
  if (typeof value === 'string') return [value]
  return Object.entries(value as object).flatMap(([key, member]) => [
    ...(Array.isArray(value) ? [] : [key]),
    ...textsOf(member),
  ])
}
