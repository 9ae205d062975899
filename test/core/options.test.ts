import { expect, test } from 'vitest'
import {
  assertBoolean,
  assertInteger,
  assertKnownKeys,
  assertNumber,
  assertObject,
  assertOneOf,
  assertText,
  withDefaults,
} from '../../src/core/options.ts'

/** What the check throws; undefined if it lets the value pass. */
function refusalOf(check: () => void): unknown {
  try {
    check()
  } catch (error) {
    return error
  }
  return undefined
}

type Check = (value: unknown) => void
const checks = {
  integerFrom: (value) => assertInteger('mill', 'size', value, 1, 10),
  numberFrom: (value) => assertNumber('mill', 'size', value, 0, 1),
  text: (value) => assertText('mill', 'name', value),
  boolean: (value) => assertBoolean('mill', 'fast', value),
  object: (value) => assertObject('mill', 'options', value),
  oneOf: (value) => assertOneOf('mill', 'mode', value, ['once', 'drain']),
} satisfies Record<string, Check>

test.each<[name: keyof typeof checks, values: unknown[]]>([
  ['integerFrom', [1, 10, 5]],
  ['numberFrom', [0, 0.5, 1, -0]],
  ['text', ['a', ' ', '🦊']],
  ['boolean', [true, false]],
  ['object', [{}, Object.create(null)]],
  ['oneOf', ['once', 'drain']],
])('%s() lets %j pass', (name, values) => {
  expect(values.map((value) => refusalOf(() => checks[name](value)))).toEqual(values.map(() => undefined))
})

test.each<[name: keyof typeof checks, refusal: Error, value: unknown]>([
  ['integerFrom', new RangeError('Cannot mill: size must be >= 1, got 0'), 0],
  ['integerFrom', new RangeError('Cannot mill: size must be <= 10, got 11'), 11],
  ['integerFrom', new RangeError('Cannot mill: size must be a whole number, got 1.5'), 1.5],
  ['integerFrom', new RangeError('Cannot mill: size must be >= 1, got NaN'), Number.NaN],
  ['integerFrom', new RangeError('Cannot mill: size must be <= 10, got Infinity'), Number.POSITIVE_INFINITY],
  ['integerFrom', new TypeError('Cannot mill: size must be a number, got string'), '5'],
  ['integerFrom', new TypeError('Cannot mill: size must be a number, got bigint'), 5n],
  ['integerFrom', new TypeError('Cannot mill: size must be a number, got null'), null],
  ['integerFrom', new TypeError('Cannot mill: size must be a number, got an array'), [5]],
  ['numberFrom', new RangeError('Cannot mill: size must be >= 0, got -0.1'), -0.1],
  ['numberFrom', new RangeError('Cannot mill: size must be <= 1, got 1.1'), 1.1],
  ['text', new TypeError('Cannot mill: name must be a string that is not empty, got ""'), ''],
  ['text', new TypeError('Cannot mill: name must be a string that is not empty, got undefined'), undefined],
  ['text', new TypeError('Cannot mill: name must be a string that is not empty, got object'), Buffer.from('a')],
  ['boolean', new TypeError('Cannot mill: fast must be true or false, got string'), 'true'],
  ['boolean', new TypeError('Cannot mill: fast must be true or false, got number'), 1],
  ['object', new TypeError('Cannot mill: options must be an object, got null'), null],
  ['object', new TypeError('Cannot mill: options must be an object, got undefined'), undefined],
  ['object', new TypeError('Cannot mill: options must be an object, got string'), 'secret'],
  ['oneOf', new TypeError('Cannot mill: mode must be one of "once", "drain", got "tail"'), 'tail'],
  ['oneOf', new TypeError('Cannot mill: mode must be one of "once", "drain", got number'), 1],
])('%s() throws %s', (name, refusal, value) => {
  expect(refusalOf(() => checks[name](value))).toEqual(refusal)
})

test('assertInteger() without an upper bound stops at the last safe integer', () => {
  const refusals = [2 ** 53 - 1, 2 ** 53].map((value) => refusalOf(() => assertInteger('mill', 'size', value, 1)))

  expect(refusals).toEqual([undefined, new RangeError(`Cannot mill: size must be <= ${2 ** 53 - 1}, got ${2 ** 53}`)])
})

test('assertKnownKeys() names every unknown key and the known ones', () => {
  const given = { stream: 'orders', gruop: 'billing', batchsize: 1 }

  expect(refusalOf(() => assertKnownKeys('mill', given, ['stream', 'group']))).toEqual(
    new TypeError('Cannot mill: unknown option "gruop", "batchsize"; known are stream, group'),
  )
  expect(refusalOf(() => assertKnownKeys('mill', given, Object.keys(given)))).toBeUndefined()
})

test('withDefaults() fills in what is left out or undefined, and nothing else', () => {
  const defaults = { a: 1, b: 'x', c: true }

  expect([
    withDefaults(defaults, { a: undefined, b: '', c: false }),
    withDefaults(defaults, { a: 0 }),
    defaults,
  ]).toEqual([
    { a: 1, b: '', c: false },
    { a: 0, b: 'x', c: true },
    { a: 1, b: 'x', c: true },
  ])
})
