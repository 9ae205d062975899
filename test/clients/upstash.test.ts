import { createHash } from 'node:crypto'
import { inspect } from 'node:util'
import { Redis as UpstashRedis } from '@upstash/redis'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import { connectUpstash, createUpstashTransport } from '../../src/clients/upstash.ts'
import { RedisConnectionError, RedisReplyError } from '../../src/errors.ts'
import { createAppender } from '../../src/group/redis/append.ts'
import type { Transport } from '../../src/group/redis/transport.ts'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { type RestServer, startRestServer } from '../support/rest-server.ts'

const token = 'the-token-of-this-test'

let server: PrivateRedis
let rest: RestServer
/** Straight to the server. */
let direct: Redis
let transport: Transport

beforeAll(async () => {
  server = await startRedisServer()
  direct = new Redis(server.url)
})

beforeEach(async () => {
  await direct.flushall()
  rest = await startRestServer({ redisUrl: server.url, token })
  transport = createUpstashTransport({ url: rest.url, token })
})

afterEach(async () => {
  await transport.close()
  await rest.close()
})

afterAll(async () => {
  direct.disconnect()
  await server.stop()
})

/** The error that `promise` rejects with, and all that would be printed of it. */
async function failureOf(promise: Promise<unknown>): Promise<{ error: unknown; printed: string }> {
  const error: unknown = await promise.then(
    () => undefined,
    (reason) => reason,
  )
  return { error, printed: inspect(error, { depth: 10, showHidden: true }) }
}

const likeJson = ['42', '007', '1.0', '-0', 'true', 'null', '"quoted"', '[1,2]', '{"id":12345678901234567890}']
const likeBase64 = ['OK', 'T0s=', '', ' ']
const unusual = ['🦊 naïve\r\n\t\u0000\u2028"\\', '\uFEFFmarked', '\u{10FFFF}']
const exactStrings = [...likeJson, ...likeBase64, ...unusual]

test('send() gives back every string exactly, alone and within arrays', async () => {
  const fields = exactStrings.flatMap((text) => [text, text])
  const [added, length, entries, echoed] = await transport.send([
    ['xadd', 's', '1-0', ...fields],
    ['xlen', 's'],
    ['xrange', 's', '-', '+'],
    ['eval', 'return ARGV', 0, ...exactStrings],
  ])
  expect({ added, length, entries, echoed }).toEqual({
    added: '1-0',
    length: 1,
    entries: [['1-0', fields]],
    echoed: exactStrings,
  })
  for (const text of exactStrings) expect(await transport.send([['echo', text]])).toEqual([text])
})

test('send() keeps the order of fields and repeats of their names', async () => {
  const fields = ['b', '1', '10', 'x', '2', 'y', 'b', '2', 'a', '']
  await transport.send([['xadd', '77', '1-0', ...fields]])
  expect(await transport.send([['xrange', '77', '-', '+']])).toEqual([[['1-0', fields]]])
})

test('send() takes Buffers and numbers, and gives null and nested arrays as the server did', async () => {
  const replies = await transport.send([
    ['xadd', Buffer.from('s'), '1-0', 'n', 1e21, 'text', Buffer.from('é')],
    ['xgroup', 'CREATE', 's', 'g', 0],
    ['xreadgroup', 'GROUP', 'g', 'c', 'COUNT', 10, 'STREAMS', 's', '>'],
    ['xreadgroup', 'GROUP', 'g', 'c', 'COUNT', 10, 'STREAMS', 's', '>'],
    ['xautoclaim', 's', 'g', 'd', 0, '0-0', 'JUSTID'],
  ])
  const entry = ['1-0', ['n', '1e+21', 'text', 'é']]
  expect(replies).toEqual(['1-0', 'OK', [['s', [entry]]], null, ['0-0', ['1-0'], []]])
})

test('send() loses bytes that are not UTF-8 to U+FFFD', async () => {
  await direct.set('binary', Buffer.from([0x61, 0xff, 0x62]))
  expect(await transport.send([['get', 'binary']])).toEqual(['a\uFFFDb'])
})

test('send() is one request, with each error in the place of its command', async () => {
  const replies = await transport.send([
    ['set', 'text', 'secret-payload'],
    ['xadd', 'text', '*', 'f', 'secret-payload'],
    ['nosuch', 'secret-payload'],
    ['xack', 's', 'g', '1-0'],
    ['xreadgroup', 'GROUP', 'g', 'c', 'STREAMS', 's', '>'],
  ])
  expect(rest.requests).toBe(1)
  expect(replies).toEqual([
    'OK',
    new RedisReplyError('WRONGTYPE Operation against a key holding the wrong kind of value'),
    expect.objectContaining({ message: expect.stringMatching(/^ERR unknown command 'nosuch'$/) }),
    0,
    expect.objectContaining({ message: expect.stringMatching(/^NOGROUP No such key 's' or consumer group 'g'/) }),
  ])
  expect(await transport.send([])).toEqual([])
  expect(rest.requests).toBe(1)
})

test('send() returns the error of a lone command too, as a RedisReplyError', async () => {
  const [reply] = await transport.send([['xreadgroup', 'GROUP', 'g', 'c', 'BLOCK', 1, 'STREAMS', 's', '>']])
  expect(reply).toBeInstanceOf(RedisReplyError)
})

test('scriptPrefix lets a script run by EVALSHA once EVAL has brought it, and NOSCRIPT asked', async () => {
  const script = `${transport.scriptPrefix}return redis.call('xadd', KEYS[1], '1-0', 'f', ARGV[1])`
  const sha = createHash('sha1').update(script).digest('hex')
  const [missing] = await transport.send([['evalsha', sha, 1, 's', 'a']])
  expect((missing as RedisReplyError).is('NOSCRIPT')).toBe(true)
  expect(await transport.send([['script', 'LOAD', script]])).toEqual([sha])
  expect(await transport.send([['evalsha', sha, 1, 's', 'a']])).toEqual(['1-0'])
  expect(await transport.send([['eval', script, 1, 't', 'a']])).toEqual(['1-0'])
})

test('send() rejects when the token is refused, without naming it', async () => {
  const other = createUpstashTransport({ url: rest.url, token: 'some-wrong-token' })
  const { error, printed } = await failureOf(other.send([['set', 'k', 'secret-payload']]))
  expect(error).toBeInstanceOf(RedisConnectionError)
  expect(printed).toContain('set the REST token')
  expect(printed).not.toMatch(/some-wrong-token|secret-payload/)
})

test('send() rejects on HTTP 500, without the payload', async () => {
  rest.failNext('serverError')
  const { error, printed } = await failureOf(transport.send([['set', 'k', 'secret-payload']]))
  expect(error).toBeInstanceOf(RedisConnectionError)
  expect(printed).toContain('the request was refused: internal server error')
  expect(printed).not.toContain('secret-payload')
  expect(await direct.get('k')).toBeNull()
})

test('send() rejects when no answer comes within commandTimeoutMs', async () => {
  const impatient = createUpstashTransport({ url: rest.url, token, commandTimeoutMs: 50 })
  rest.failNext({ delayMs: 20_000 })
  const { error, printed } = await failureOf(impatient.send([['xreadgroup', 'secret-payload']]))
  expect(error).toBeInstanceOf(RedisConnectionError)
  expect(printed).toContain('no answer within 50 ms')
  expect(printed).not.toContain('secret-payload')
})

test('send() sends a request again, once, when its answer was lost', async () => {
  rest.failNext('loseReply')
  expect(await transport.send([['incr', 'n']])).toEqual([2])
  rest.failNext('loseReply')
  rest.failNext('loseReply')
  await expect(transport.send([['incr', 'n']])).rejects.toThrow(RedisConnectionError)
  expect(await direct.get('n')).toBe('4')
})

test('send() rejects with the system error as its cause when the connection is refused or dead', async () => {
  const proxy = await startFaultProxy({ host: '127.0.0.1', port: Number(new URL(rest.url).port) })
  const far = createUpstashTransport({ url: proxy.url.replace('redis:', 'http:'), token, commandTimeoutMs: 500 })
  expect(await far.send([['ping']])).toEqual(['PONG'])
  proxy.stall()
  await expect(far.send([['ping']])).rejects.toThrow('no answer within 500 ms')
  await proxy.close()
  const { error } = await failureOf(far.send([['ping']]))
  expect(error).toBeInstanceOf(RedisConnectionError)
  expect(error).toMatchObject({
    message: 'Cannot reach Upstash: ECONNREFUSED; check the host in url, and that this network leads there',
    cause: { code: 'ECONNREFUSED' },
  })
})

test('send() rejects after close()', async () => {
  await transport.close()
  await expect(transport.send([['ping']])).rejects.toThrow(
    new RedisConnectionError('Cannot use Upstash: the connection was closed by close(); make another one'),
  )
})

test('createUpstashTransport() takes a client of the user, whatever it does to replies', async () => {
  let made = 0
  const own = createUpstashTransport(() => {
    made += 1
    return new UpstashRedis({ url: rest.url, token, responseEncoding: false })
  })
  expect(await own.send([['echo', '{"a":1}']])).toEqual(['{"a":1}'])
  expect(await own.send([['echo', '42']])).toEqual(['42'])
  expect({ made, requests: rest.requests }).toEqual({ made: 1, requests: 2 })
})

test('createUpstashTransport() leaves a client usable for its owner', async () => {
  const redis = new UpstashRedis({ url: rest.url, token, responseEncoding: false })
  const own = createUpstashTransport(() => redis)
  await redis.set('k', { a: 1 })
  expect(await own.send([['get', 'k']])).toEqual(['{"a":1}'])
  expect(await redis.get('k')).toEqual({ a: 1 })
})

test('createUpstashTransport() refuses a client that decodes base64', () => {
  const decoding = new UpstashRedis({ url: rest.url, token })
  const rule = 'the client must be made with responseEncoding: false, got "base64", its default'
  expect(() => createUpstashTransport(() => decoding)).toThrow(new TypeError(`Cannot connect to Upstash: ${rule}`))
})

test('connectUpstash() gives a connection over that transport', async () => {
  const connection = connectUpstash({ url: rest.url, token })
  const {
    answers: [id],
  } = await createAppender('append', connection)('s', [[['f', '007']]], { kind: 'none' })
  expect(await direct.xrange('s', '-', '+')).toEqual([[id, ['f', '007']]])
  await connection.close()
})

test.each([
  [{ url: 'rediss://:secret-token@host:6380', token }, /url must be the REST URL of the database, https:/],
  [{ token }, /url must be the REST URL of the database, https:/],
  [{ url: 'https://host', token: 'secret-token\n' }, /token must be the REST token of the database, without spaces/],
  [{ url: 'https://host', token, commandTimeoutMs: 0 }, /commandTimeoutMs must be an integer from 1 to 900000, got 0/],
  [{ url: 'https://host', token, timeout: 5 }, /unknown option "timeout"; known are url, token, commandTimeoutMs$/],
  [undefined, /options must be an object as { url, token }, got undefined$/],
  ['https://:secret-token@host', /options must be an object as { url, token }, got string$/],
])('createUpstashTransport() refuses options that cannot be right, case %#', (options, rule) => {
  const create = () => createUpstashTransport(options as never)
  expect(create).toThrow(TypeError)
  expect(create).toThrow(rule)
  expect(create).not.toThrow('secret-token')
})
