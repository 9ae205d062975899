import { RedisReplyError } from 'millrace'
import { describe, expect, test } from 'vitest'
import { type CheckSubject, runCheck } from '../../../src/operate/doctor/check.ts'
import { persistenceCheck, serverClockCheck, serverVersionCheck } from '../../../src/operate/doctor/checks/server.ts'
import { sizingCheck } from '../../../src/operate/doctor/checks/sizing.ts'
import { streamCheck } from '../../../src/operate/doctor/checks/stream.ts'
import { sizesOf } from '../../../src/operate/doctor/sizes.ts'

// what no server of this machine says: other versions, a broken disk, another node of a cluster

const subject: CheckSubject = {
  localNow: 0,
  now: 0,
  signIn: undefined,
  functionTimeoutMs: undefined,
  targetTimeoutsMs: {},
  pollers: undefined,
  stream: 'orders',
  ours: new Set(),
  group: 'billing',
  keys: undefined,
  consumer: undefined,
  sameGroup: [],
}

describe('the version', () => {
  test.each<[Record<string, string>, RegExp[]]>([
    [{ redis_version: '5.0.14' }, [/^error: Redis 5.0.14 has no XAUTOCLAIM/]],
    [{ redis_version: '6.2.16' }, [/^info: Redis 6.2.16 reports no lag of ten entries and more/]],
    [{ redis_version: '7.2.6' }, [/^info: Redis 7.2.6 counts a lag too high/]],
    [{ redis_version: '8.0.6' }, []],
    [
      { redis_version: '8.2.2' },
      [/^warning: .*CVE-2025-62507/, /^warning: Redis 8.2.2: XREADGROUP can be made to read keys/],
    ],
    [{ redis_version: '8.2.9' }, []],
    [{ redis_version: '8.6.3' }, [/^warning: Redis 8.6.3: XREADGROUP can be made/]],
    [{ redis_version: '7.2.4', valkey_version: '9.1.2' }, []],
    [{}, [/^unknown: The server does not report its version/]],
  ])('of %j', (info, expected) => {
    const found = runCheck(serverVersionCheck, { info: { value: info } }, subject)

    expect(found.map(({ severity, message }) => `${severity}: ${message}`)).toEqual(
      expected.map((pattern) => expect.stringMatching(pattern)),
    )
  })
})

test.each([
  [300_000, ["warning: The server's clock is 5 min ahead of"]],
  [-300_000, ["warning: The server's clock is 5 min behind"]],
  [59_000, []],
])('the clock of a server %d ms off', (now, expected) => {
  const found = runCheck(serverClockCheck, { now: { value: now } }, subject)

  expect(found.map(({ severity, message }) => `${severity}: ${message}`)).toEqual(
    expected.map((text) => expect.stringContaining(text)),
  )
})

test('a server that cannot write to its disk is an error', () => {
  const info = { aof_enabled: '1', aof_last_write_status: 'err', rdb_last_bgsave_status: 'ok' }

  expect(runCheck(persistenceCheck, { info: { value: info }, now: { value: 0 } }, subject)).toMatchObject([
    { severity: 'error', message: expect.stringMatching(/^aof_last_write_status is err/) },
  ])
})

test.each([
  ['7.2, that saved', { rdb_saves: '1', rdb_last_save_time: '999' }, ', the last snapshot 1 s old: '],
  [
    '7.2, that did not',
    { rdb_saves: '0', rdb_last_save_time: '760' },
    ', and no snapshot since the server started 4 min ago: ',
  ],
  ['6.2, that saved', { rdb_last_save_time: '940' }, ', the last snapshot 1 min old: '],
  ['6.2, that did not', { rdb_last_save_time: '761' }, ', and no snapshot since the server started 4 min ago: '],
])('the age of a snapshot of %s', (_title, given, text) => {
  const info = { aof_enabled: '0', uptime_in_seconds: '240', ...given }

  expect(runCheck(persistenceCheck, { info: { value: info }, now: { value: 1_000_000 } }, subject)).toMatchObject([
    { severity: 'warning', message: expect.stringContaining(text) },
  ])
})

test('another node of a cluster is an error of the client', () => {
  const refusal = { refusal: new RedisReplyError('MOVED 105 127.0.0.1:7001'), right: '+xinfo|stream' }

  expect(runCheck(streamCheck, { stream: refusal }, subject)).toEqual([
    {
      check: 'stream',
      severity: 'error',
      stream: 'orders',
      message: 'Not told: MOVED 105 127.0.0.1:7001',
      fix: 'the server is a cluster: ?cluster in the URL, or connectIoredis(() => new Cluster([…])), finds its nodes',
    },
  ])
})

test('maxmemory that a server does not report is unknown', () => {
  const info = { used_memory: '1000000' }

  expect(runCheck(sizingCheck, { info: { value: info }, sizes: { value: [] } }, subject)).toMatchObject([
    { severity: 'unknown', message: 'The server does not report its maxmemory' },
  ])
})

test('sizes count a group once, however many consumers of it there are', () => {
  const info = { length: 3, lastGeneratedId: '3-0' }
  const parked = { name: 'parked', pending: 2, idleMs: 0 }
  const group = {
    group: 'billing',
    keys: { deadLetters: '{orders}:billing:dlq' },
    consumer: undefined,
    inquiry: { answers: { consumers: { value: [parked] }, deadLetters: { value: info } } },
  }
  const stream = { stream: { value: info }, memoryUsage: { value: 1_000 }, groups: { value: [] } }
  const asked = { name: 'orders', inquiry: { answers: stream }, groups: [group, group] }

  expect(sizesOf([asked] as unknown as Parameters<typeof sizesOf>[0])).toMatchObject({
    value: [{ setAside: 2, deadLetters: [{ info }] }],
  })
})
