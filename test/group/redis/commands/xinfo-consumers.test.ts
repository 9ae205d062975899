import { describe, expect, test } from 'vitest'
import { parseXinfoConsumers, xinfoConsumers } from '../../../../src/group/redis/commands/xinfo-consumers.ts'

const bytes = (text: string) => Buffer.from(text)

test('xinfoConsumers() asks for the consumers of a group', () => {
  expect(xinfoConsumers('orders', 'billing')).toEqual(['xinfo', 'CONSUMERS', 'orders', 'billing'])
})

describe('parseXinfoConsumers()', () => {
  const consumers = [
    { name: 'poller-0', pending: 2, idleMs: 9_104 },
    { name: 'Renée', pending: 0, idleMs: 0 },
  ]
  const rows = [
    { name: 'poller-0', pending: 2, idle: 9_104 },
    { name: 'Renée', pending: 0, idle: 0 },
  ]

  test.each([
    ["RESP2's arrays of text", rows.map((row) => Object.entries(row).flat())],
    [
      "RESP2's arrays of bytes",
      rows.map(({ name, pending, idle }) => [
        bytes('name'),
        bytes(name),
        bytes('pending'),
        pending,
        bytes('idle'),
        idle,
      ]),
    ],
    ["RESP3's maps", rows.map((row) => new Map<string, string | number>(Object.entries(row)))],
    [
      "RESP3's maps of bytes",
      rows.map(
        ({ name, pending, idle }) =>
          new Map<Buffer, Buffer | number>([
            [bytes('name'), bytes(name)],
            [bytes('pending'), pending],
            [bytes('idle'), idle],
          ]),
      ),
    ],
    ["a client's objects", rows],
    [
      'numbers that came as text',
      rows.map(({ name, pending, idle }) => ['name', name, 'pending', `${pending}`, 'idle', `${idle}`]),
    ],
    ['what later servers add', rows.map((row) => [...Object.entries(row).flat(), 'inactive', -1])],
  ])('reads %s', (_title, reply) => {
    expect(parseXinfoConsumers(reply)).toEqual(consumers)
  })

  test.each([[[]], [null]])('gives none for %j', (reply) => {
    expect(parseXinfoConsumers(reply)).toEqual([])
  })
})
