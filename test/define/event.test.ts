import { describe, expect, test } from 'vitest'
import * as z from 'zod/mini'
import { defineEvent } from '../../src/define/event.ts'

const payload = z.object({ orderId: z.string() })
const lift = (old: Record<string, unknown>) => old

/** What defineEvent throws; options as they come from programs without types. */
function refusalOf(type: unknown, options: unknown): unknown {
  try {
    defineEvent(type as string, options as { payload: typeof payload })
  } catch (error) {
    return error
  }
  return undefined
}

describe('defineEvent()', () => {
  test('resolves to the type, its schema, version 1 and no upcasts', () => {
    expect(defineEvent('OrderPaid', { payload })).toEqual({ type: 'OrderPaid', version: 1, payload, upcast: {} })
  })

  test('keeps version and upcasts', () => {
    const upcast = { 1: lift, 2: lift }

    expect(defineEvent('OrderPaid', { payload, version: 3, upcast })).toEqual({
      type: 'OrderPaid',
      version: 3,
      payload,
      upcast,
    })
  })

  test('is not changed by what happens to its options later', () => {
    const upcast: Record<number, typeof lift> = { 1: lift }
    const event = defineEvent('OrderPaid', { payload, version: 3, upcast })
    upcast[2] = lift

    expect([Object.keys(event.upcast), Object.isFrozen(event), Object.isFrozen(event.upcast)]).toEqual([
      ['1'],
      true,
      true,
    ])
  })

  test('takes a schema that is a function', () => {
    const schema = Object.assign(() => true, { '~standard': payload['~standard'] })

    expect(defineEvent('OrderPaid', { payload: schema }).payload).toBe(schema)
  })

  test('takes undefined for left out', () => {
    expect(refusalOf('OrderPaid', { payload, version: undefined, upcast: undefined })).toBeUndefined()
  })

  const type = (message: string) => new TypeError(`Cannot define event ${message}`)
  const range = (message: string) => new RangeError(`Cannot define event ${message}`)
  const noSchema = (got: string) =>
    `"A": payload must be a Standard Schema, as of zod, valibot or arktype, got ${got}; for a payload of any shape take z.unknown()`
  test.each<[refusal: Error, type: unknown, options: unknown]>([
    [type('"": type must be a string that is not empty, got ""'), '', { payload }],
    [new TypeError('Cannot define event: type must be a string that is not empty, got number'), 5, { payload }],
    [type('"A": the schema must be given as { payload: schema }'), 'A', payload],
    [type('"A": options must be an object, got undefined'), 'A', undefined],
    [type('"A": unknown option "schema"; known are payload, version, upcast'), 'A', { payload, schema: payload }],
    [type(noSchema('undefined')), 'A', {}],
    [type(noSchema('null')), 'A', { payload: null }],
    [type(noSchema('object')), 'A', { payload: { '~standard': {} } }],
    [type(noSchema('function')), 'A', { payload: () => true }],
    [range('"A": version must be >= 1, got 0'), 'A', { payload, version: 0 }],
    [range('"A": version must be a whole number, got 1.5'), 'A', { payload, version: 1.5 }],
    [type('"A": version must be a number, got string'), 'A', { payload, version: '2' }],
    [type('"A": upcast must be an object as { 1: (old) => … }, got function'), 'A', { payload, upcast: lift }],
    [type('"A": upcast must be an object as { 1: (old) => … }, got null'), 'A', { payload, upcast: null }],
    [type('"A": upcast[1] must be a function, got string'), 'A', { payload, version: 2, upcast: { 1: 'EUR' } }],
    ...['0', '2', '01', '1.5', '-1', 'one'].map((from): [Error, unknown, unknown] => [
      range(`"A": upcast must lift versions from 1 to 1, got "${from}"`),
      'A',
      { payload, version: 2, upcast: { [from]: lift } },
    ]),
    [range('"A": upcast needs a version of 2 or more, got version 1'), 'A', { payload, upcast: { 1: lift } }],
  ])('throws %s', (refusal, name, options) => {
    expect(refusalOf(name, options)).toEqual(refusal)
  })
})
