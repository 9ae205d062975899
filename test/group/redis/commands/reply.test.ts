import { describe, expect, test } from 'vitest'
import { RedisReplyError } from '../../../../src/errors.ts'
import { replyAsFields, replyAsRecord, replyAsText, replyItems } from '../../../../src/group/redis/commands/reply.ts'

const bytes = (text: string) => Buffer.from(text)

test('replyItems() gives the members of an array, and none of anything else', () => {
  const nothing = [null, undefined, 1, 'text', bytes('text'), new Map(), { a: 1 }, new RedisReplyError('ERR no')]

  expect([[1, null, 'a'], [], ...nothing].map((reply) => replyItems(reply))).toEqual([
    [1, null, 'a'],
    [],
    ...nothing.map(() => []),
  ])
})

test('replyAsText() reads bytes, text and numbers, and nothing as empty', () => {
  expect([bytes('🦊'), '🦊', '', 5, 0, null, undefined].map(replyAsText)).toEqual(['🦊', '🦊', '', '5', '0', '', ''])
})

describe('replyAsFields()', () => {
  test('pairs names and values in order, repeated ones too, and leaves bytes as they are', () => {
    const binary = Buffer.from([0xff, 0])

    expect(replyAsFields([bytes('a'), binary, bytes('a'), bytes(''), 'b', '2'])).toEqual([
      [bytes('a'), binary],
      [bytes('a'), bytes('')],
      ['b', '2'],
    ])
  })

  test.each([[null], [undefined], [[]], [['alone']]])('gives none for %j', (reply) => {
    expect(replyAsFields(reply)).toEqual([])
  })
})

describe('replyAsRecord()', () => {
  const record = { name: 'poller-0', pending: 2 }
  test.each([
    ["RESP2's array of text", ['name', 'poller-0', 'pending', 2]],
    ["RESP2's array of bytes", [bytes('name'), 'poller-0', bytes('pending'), 2]],
    ["RESP3's map of text", new Map<string, string | number>(Object.entries(record))],
    [
      "RESP3's map of bytes",
      new Map<Buffer, string | number>([
        [bytes('name'), 'poller-0'],
        [bytes('pending'), 2],
      ]),
    ],
    ["a client's object", record],
  ])('reads %s', (_title, reply) => {
    expect(replyAsRecord(reply)).toEqual(record)
  })

  test.each([[null], [undefined], [[]], [new Map()]])('is empty for %j', (reply) => {
    expect(replyAsRecord(reply)).toEqual({})
  })
})
