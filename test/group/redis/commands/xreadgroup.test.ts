import { describe, expect, test } from 'vitest'
import { parseXreadgroup, xreadgroup } from '../../../../src/group/redis/commands/xreadgroup.ts'
import { plainDelivery } from '../../../support/plain-delivery.ts'

const bytes = (text: string) => Buffer.from(text)

test('xreadgroup() asks for new entries, and does not block', () => {
  expect(xreadgroup('orders', 'billing', 'poller-0', 100)).toEqual([
    'xreadgroup',
    'GROUP',
    'billing',
    'poller-0',
    'COUNT',
    100,
    'STREAMS',
    'orders',
    '>',
  ])
})

/** What is new is at its first delivery, and is set aside where its handler cannot start. */
const FIRST = { deliveryCount: 1, returnTo: 'parked' }

describe('parseXreadgroup()', () => {
  const asText = [
    ['5-1', ['a', '1', 'a', '2']],
    ['5-2', ['b', '🦊']],
  ]
  const asBytes = [
    [bytes('5-1'), [bytes('a'), bytes('1'), bytes('a'), bytes('2')]],
    [bytes('5-2'), [bytes('b'), bytes('🦊')]],
  ]
  const entriesOfText = [
    {
      id: '5-1',
      fields: [
        ['a', '1'],
        ['a', '2'],
      ],
    },
    { id: '5-2', fields: [['b', '🦊']] },
  ]
  const entriesOfBytes = [
    {
      id: '5-1',
      fields: [
        [bytes('a'), bytes('1')],
        [bytes('a'), bytes('2')],
      ],
    },
    { id: '5-2', fields: [[bytes('b'), bytes('🦊')]] },
  ]

  test.each([
    ["RESP2's arrays of text", [['orders', asText]], entriesOfText],
    ["RESP2's arrays of bytes", [[bytes('orders'), asBytes]], entriesOfBytes],
    ["RESP3's map of text", new Map([['orders', asText]]), entriesOfText],
    ["RESP3's map of bytes", new Map([[bytes('orders'), asBytes]]), entriesOfBytes],
    ["a client's object", { orders: asText }, entriesOfText],
  ])('reads %s', (_title, reply, entries) => {
    expect(parseXreadgroup(reply).map(plainDelivery)).toEqual(entries.map((entry) => ({ ...entry, ...FIRST })))
  })

  test.each([
    ['null', null],
    ['an empty array', []],
    ['an empty map', new Map()],
    ['an empty object', {}],
    ['a stream without entries', [['orders', []]]],
  ])('reads nothing from %s', (_title, reply) => {
    expect(parseXreadgroup(reply)).toEqual([])
  })

  test('keeps bytes that are no text', () => {
    const binary = Buffer.from([0xff, 0, 0x80])

    expect(parseXreadgroup([[bytes('orders'), [[bytes('5-1'), [binary, binary]]]]]).map(plainDelivery)).toEqual([
      { id: '5-1', fields: [[binary, binary]], ...FIRST },
    ])
  })

  test('gives an entry without fields none', () => {
    expect(parseXreadgroup([['orders', [['5-1', null]]]]).map(plainDelivery)).toEqual([
      { id: '5-1', fields: [], ...FIRST },
    ])
  })
})
