import { expect, test } from 'vitest'
import { parseXinfoGroups, xinfoGroups } from '../../../../src/group/redis/commands/xinfo-groups.ts'

test('xinfoGroups() asks for the groups of a stream', () => {
  expect(xinfoGroups('orders')).toEqual(['xinfo', 'GROUPS', 'orders'])
})

const info = { name: Buffer.from('billing'), consumers: 2, pending: 3, 'last-delivered-id': '1-0' }
const read = { name: 'billing', consumers: 2, pending: 3, lastDeliveredId: '1-0' }

test.each([
  ["RESP2's flat arrays, of Redis 6.2", [Object.entries(info).flat()], {}],
  [
    "RESP3's maps",
    [new Map<string, unknown>(Object.entries({ ...info, 'entries-read': 4, lag: 5 }))],
    { entriesRead: 4, lag: 5 },
  ],
  ['a lag of 0', [{ ...info, lag: 0 }], { lag: 0 }],
  ['counts that the server does not know', [{ ...info, 'entries-read': null, lag: null }], {}],
])('parseXinfoGroups() reads %s', (_title, reply, counts) => {
  expect(parseXinfoGroups(reply as never)).toEqual([{ ...read, ...counts }])
})

test.each([[[]], [null]])('parseXinfoGroups() gives none for %j', (reply) => {
  expect(parseXinfoGroups(reply)).toEqual([])
})
