import type { FilterPattern } from 'millrace'
import { filterPatterns } from 'millrace'
import { describe, expect, test } from 'vitest'

/** Whether a payload matches, where a pattern asks for it. */
const matches = (payload: unknown, pattern: object) =>
  filterPatterns([{ payload: pattern } as FilterPattern]).matches({ type: 'Any', version: 1, payload })

describe('filterPatterns()', () => {
  // the guide's own table, an event that matches and one that does not for each row
  // https://docs.aws.amazon.com/lambda/latest/dg/invocation-eventfiltering.html
  test.each<[comparison: string, pattern: object, yes: unknown, no: unknown]>([
    ['null', { UserID: [null] }, { UserID: null }, { UserID: 'null' }],
    ['null of what is absent', { UserID: [null] }, { UserID: null }, {}],
    ['empty', { LastName: [''] }, { LastName: '' }, { LastName: ' ' }],
    ['equals', { Name: ['Alice'] }, { Name: 'Alice' }, { Name: 'alice' }],
    ['equals, true', { Paid: [true] }, { Paid: true }, { Paid: 'true' }],
    ['equals-ignore-case', { Name: [{ 'equals-ignore-case': 'Alice' }] }, { Name: 'aLICE' }, { Name: 'Alicia' }],
    [
      'and',
      { Location: ['New York'], Day: ['Monday'] },
      { Location: 'New York', Day: 'Monday' },
      { Location: 'New York', Day: 'Tuesday' },
    ],
    ['or', { PaymentType: ['Credit', 'Debit'] }, { PaymentType: 'Debit' }, { PaymentType: 'Cash' }],
    [
      'or of several fields',
      { $or: [{ Location: ['New York'] }, { Day: ['Monday'] }] },
      { Location: 'Rome', Day: 'Monday' },
      { Location: 'Rome', Day: 'Tuesday' },
    ],
    ['not', { Weather: [{ 'anything-but': ['Raining'] }] }, { Weather: 'Sunny' }, { Weather: 'Raining' }],
    ['not, of one value', { Weather: [{ 'anything-but': 'Raining' }] }, { Weather: 5 }, { Weather: 'Raining' }],
    ['not, of what is absent', { Weather: [{ 'anything-but': ['Raining'] }] }, { Weather: null }, {}],
    ['not, of numbers', { Price: [{ 'anything-but': [100, 200] }] }, { Price: 300 }, { Price: 200 }],
    ['not, of a prefix', { State: [{ 'anything-but': { prefix: 'init' } }] }, { State: 'done' }, { State: 'initial' }],
    [
      'not, of suffixes',
      { File: [{ 'anything-but': { suffix: ['.png', '.jpg'] } }] },
      { File: 'a.txt' },
      { File: 'a.jpg' },
    ],
    [
      'not, in whatever case',
      { State: [{ 'anything-but': { 'equals-ignore-case': ['A', 'b'] } }] },
      { State: 'c' },
      { State: 'B' },
    ],
    ['numeric, equals', { Price: [{ numeric: ['=', 100] }] }, { Price: 100 }, { Price: '100' }],
    ['numeric, a range', { Price: [{ numeric: ['>', 10, '<=', 20] }] }, { Price: 20 }, { Price: 10 }],
    ['numeric, of a text', { Price: [{ numeric: ['<', 10] }] }, { Price: -1 }, { Price: 'a' }],
    ['numeric, from', { Price: [{ numeric: ['>=', 10] }] }, { Price: 10 }, { Price: 9.99 }],
    ['exists', { ProductName: [{ exists: true }] }, { ProductName: null }, {}],
    ['exists, of leaves', { ProductName: [{ exists: true }] }, { ProductName: '' }, { ProductName: { a: 1 } }],
    ['does not exist', { ProductName: [{ exists: false }] }, {}, { ProductName: '' }],
    ['does not exist, of leaves', { ProductName: [{ exists: false }] }, { ProductName: { a: 1 } }, { ProductName: 1 }],
    ['begins with', { Region: [{ prefix: 'us-' }] }, { Region: 'us-east-1' }, { Region: 'eu-us-1' }],
    ['begins with, of a number', { Region: [{ prefix: '1' }] }, { Region: '1' }, { Region: 1 }],
    ['ends with', { FileName: [{ suffix: '.png' }] }, { FileName: 'a.png' }, { FileName: 'a.png.txt' }],
    ['one of values and comparisons', { State: ['new', { prefix: 'un' }, null] }, { State: null }, { State: 'old' }],
    ['nested', { dynamodb: { Keys: { Id: { N: ['101'] } } } }, { dynamodb: { Keys: { Id: { N: '101' } } } }, {}],
    ['an array that has it', { tags: ['a', 'b'] }, { tags: ['c', 'b'] }, { tags: ['c'] }],
    ['an empty array', { tags: [{ exists: false }] }, { tags: [] }, { tags: ['a'] }],
    ['arrays within arrays', { tags: ['a'] }, { tags: [[['a']]] }, { tags: [['b']] }],
    [
      'one element that fits whole',
      { items: { sku: ['a'], count: [2] } },
      { items: [{ sku: 'a', count: 2 }] },
      {
        items: [
          { sku: 'a', count: 1 },
          { sku: 'b', count: 2 },
        ],
      },
    ],
    [
      'no element that has it',
      { items: { sku: [{ exists: false }] } },
      { items: [{ count: 1 }, {}] },
      { items: [{ sku: 'a' }, {}] },
    ],
    ['nothing below what is absent', { a: { b: [{ exists: false }] } }, { a: null }, { a: { b: 0 } }],
    ['a prototype member', { constructor: [{ exists: false }], toString: [{ exists: false }] }, {}, { toString: 'a' }],
    [
      'or within and within or',
      { a: [1], $or: [{ b: [2] }, { c: [3], $or: [{ d: [4] }, { e: [5] }] }] },
      { a: 1, c: 3, e: 5 },
      { a: 1, c: 3 },
    ],
    ['numbers by value', { Price: [300] }, { Price: 3e2 }, { Price: 301 }],
  ])('%s', (_comparison, pattern, yes, no) => {
    expect([matches(yes, pattern), matches(no, pattern)]).toEqual([true, false])
  })

  test('matches all members of one pattern, of one pattern or another', () => {
    const filter = filterPatterns([{ type: ['OrderPaid'], tenantId: ['t-1'] }, { version: [{ numeric: ['>', 1] }] }])
    const paid = { type: 'OrderPaid', version: 1, payload: {} }

    expect(filter.matches(paid)).toBe(false)
    expect(filter.matches({ ...paid, tenantId: 't-1' })).toBe(true)
    expect(filter.matches({ ...paid, type: 'OrderShipped', tenantId: 't-1' })).toBe(false)
    expect(filter.matches({ ...paid, version: 2 })).toBe(true)
  })

  test.each([
    [{ payload: ['text'] }, { payload: 'text' }],
    [{ payload: [null] }, { payload: null }],
    [{ payload: { id: ['a'] } }, { payload: [{ id: 'b' }, { id: 'a' }] }],
    [{ eventId: [{ exists: false }] }, { payload: {} }],
    [
      { eventId: [{ prefix: 'e-' }], producer: ['shop'] },
      { eventId: 'e-1', producer: 'shop', payload: {} },
    ],
    [{ $or: [{ producer: ['x'] }, { aggregateId: ['o-1'] }] }, { aggregateId: 'o-1', payload: {} }],
  ] as const)('%j matches %j', (pattern, event) => {
    expect(filterPatterns([pattern as FilterPattern]).matches({ type: 'Any', ...event })).toBe(true)
  })

  test('matches all events without patterns', () => {
    expect(filterPatterns().matches({ type: 'Any', payload: {} })).toBe(true)
    expect(filterPatterns().patterns).toBeUndefined()
  })

  test('keeps a copy: what the caller does to its patterns later changes nothing', () => {
    const pattern = { type: ['OrderPaid'] }
    const filter = filterPatterns([pattern])
    pattern.type[0] = 'OrderShipped'

    expect(filter.matches({ type: 'OrderPaid', payload: {} })).toBe(true)
  })

  const list = 'filterPatterns must be an array of 1 to 10 patterns, as in [{ type: ["OrderPaid"] }]'
  const numeric =
    'filterPatterns[0].payload.a[0].numeric must be an operator (=, <, <=, >, >=) and a number, or a lower and an upper bound, as in [">", 0, "<=", 5]'
  test.each<[refusal: string, patterns: unknown]>([
    [list, null],
    [list, []],
    [list, { type: ['OrderPaid'] }],
    [list, '[{ "type": ["OrderPaid"] }]'],
    [list, Array.from({ length: 11 }, () => ({ type: ['OrderPaid'] }))],
    ['filterPatterns[0] must be an object with members, as in { type: ["OrderPaid"] }, got null', [null]],
    ['filterPatterns[0] must be an object with members, as in { type: ["OrderPaid"] }, got undefined', Array(1)],
    [
      'filterPatterns[1] must be an object with members, as in { type: ["OrderPaid"] }, got an empty object',
      [{ type: ['a'] }, {}],
    ],
    [
      'filterPatterns[0] must name members of an event, type, version, payload, eventId, aggregateType, aggregateId, tenantId, producer, occurredAt, attributes, ' +
        'got "body"; what its payload has is asked for as { payload: { body: […] } }',
      [{ type: ['a'], body: { id: ['x'] } }],
    ],
    [
      'filterPatterns[0].attributes must be an object, as in { source: ["web"] }, got an array',
      [{ attributes: ['web'] }],
    ],
    [
      'filterPatterns[0].attributes must be an object with members, as in { type: ["OrderPaid"] }, got an empty object',
      [{ attributes: {} }],
    ],
    [
      'filterPatterns[0].attributes must be an array of values and comparisons, as in ["OrderPaid"], or an object, got string',
      [{ attributes: 'web' }],
    ],
    [
      'filterPatterns[0].type must be an array of values and comparisons, as in ["OrderPaid"], got string',
      [{ type: 'OrderPaid' }],
    ],
    [
      'filterPatterns[0].type must be an array of values and comparisons, as in ["OrderPaid"], got an object with "prefix"',
      [{ type: { prefix: 'Order' } }],
    ],
    [
      'filterPatterns[0].payload.a must be an array of values and comparisons, as in ["OrderPaid"], or an object, got undefined',
      [{ payload: { a: undefined } }],
    ],
    ['filterPatterns[0].type must have a value or a comparison, got an empty array', [{ type: [] }]],
    [
      'filterPatterns[0].payload must be an object with members, as in { type: ["OrderPaid"] }, got an empty object',
      [{ payload: {} }],
    ],
    [
      'filterPatterns[0].version[0] must be a text, a number, true, false or null, got number',
      [{ version: [Number.NaN] }],
    ],
    ['filterPatterns[0].version[1] must be a text, a number, true, false or null, got bigint', [{ version: [1, 2n] }]],
    [
      'filterPatterns[0].type[0] must be a value or one comparison, as in { prefix: "Order" }, got an array',
      [{ type: [['a']] }],
    ],
    [
      'filterPatterns[0].type[0] must be a value or one comparison, as in { prefix: "Order" }, got an object with "prefix", "suffix"',
      [{ type: [{ prefix: 'a', suffix: 'b' }] }],
    ],
    [
      'filterPatterns[0].type[0] must be a comparison by prefix, suffix, equals-ignore-case, exists, numeric, anything-but, got "wildcard"',
      [{ type: [{ wildcard: '*' }] }],
    ],
    [
      'filterPatterns[0].type[0] must be a comparison by prefix, suffix, equals-ignore-case, exists, numeric, anything-but, got ""',
      [{ type: [{}] }],
    ],
    ['filterPatterns[0].type[0].prefix must be a string that is not empty, got ""', [{ type: [{ prefix: '' }] }]],
    ['filterPatterns[0].type[0].exists must be true or false, got string', [{ type: [{ exists: 'true' }] }]],
    ...[['>'], ['>', '0'], ['!', 0], ['>', 0, '>', 1], ['<', 5, '>', 0], ['=', 1, '=', 1], 5, ['>', 0, '<'], []].map(
      (operand): [string, unknown] => [numeric, [{ payload: { a: [{ numeric: operand }] } }]],
    ),
    [
      'filterPatterns[0].payload.a[0].numeric must have a lower bound below the upper one, got 5 and 5',
      [{ payload: { a: [{ numeric: ['>', 5, '<', 5] }] } }],
    ],
    [
      'filterPatterns[0].type[0].anything-but must have a value, got an empty array',
      [{ type: [{ 'anything-but': [] }] }],
    ],
    [
      'filterPatterns[0].type[0].anything-but must be a value, an array of values, or one of prefix, suffix, equals-ignore-case',
      [{ type: [{ 'anything-but': { exists: true } }] }],
    ],
    [
      'filterPatterns[0].type[0].anything-but.prefix[1] must be a string that is not empty, got number',
      [{ type: [{ 'anything-but': { prefix: ['a', 1] } }] }],
    ],
    ['filterPatterns[0].$or must be an array of two or more patterns, got an array', [{ $or: [{ type: ['a'] }] }]],
    [
      'filterPatterns[0].payload.$or must be an array of two or more patterns, got an object with "a"',
      [{ payload: { $or: { a: [1] } } }],
    ],
    [
      'filterPatterns[0].$or[1].type must be an array of values and comparisons, as in ["OrderPaid"], got number',
      [{ $or: [{ type: ['a'] }, { type: 5 }] }],
    ],
  ])('refuses: %s', (refusal, patterns) => {
    expect(() => filterPatterns(patterns as FilterPattern[])).toThrow(`Cannot define a filter: ${refusal}`)
  })

  test('refuses a pattern that has itself in it', () => {
    const payload: Record<string, unknown> = {}
    payload.self = payload

    expect(() => filterPatterns([{ payload } as FilterPattern])).toThrow('must not be deeper than 64 objects')
  })
})
