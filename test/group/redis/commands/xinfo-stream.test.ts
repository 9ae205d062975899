import { expect, test } from 'vitest'
import { parseXinfoStream, xinfoStream } from '../../../../src/group/redis/commands/xinfo-stream.ts'

const bytes = (text: string) => Buffer.from(text)
const entry = (id: string) => [bytes(id), [bytes('a'), bytes('b')]]

test('xinfoStream() asks for a stream without its groups and entries', () => {
  expect(xinfoStream('orders')).toEqual(['xinfo', 'STREAM', 'orders'])
})

const info = { length: 2, 'last-generated-id': bytes('3-0'), 'first-entry': entry('1-0'), 'last-entry': entry('2-0') }
const read = { length: 2, lastGeneratedId: '3-0', firstId: '1-0', lastId: '2-0' }

test.each([
  ["RESP2's flat array, of Redis 6.2", Object.entries(info).flat(), { ...read, entriesAdded: undefined }],
  ["RESP3's map", new Map(Object.entries({ ...info, 'entries-added': 3 })), { ...read, entriesAdded: 3 }],
  [
    'an empty stream',
    Object.entries({ ...info, length: 0, 'first-entry': null, 'last-entry': null }).flat(),
    { length: 0, lastGeneratedId: '3-0', entriesAdded: undefined, firstId: undefined, lastId: undefined },
  ],
])('parseXinfoStream() reads %s', (_title, reply, expected) => {
  expect(parseXinfoStream(reply as never)).toEqual(expected)
})
