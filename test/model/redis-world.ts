import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { RedisReplyError } from '../../src/errors.ts'
import { createRedisConnection } from '../../src/group/redis/redis-connection.ts'
import type { RedisCommand, RedisReply, ReplyOrConnectionError } from '../../src/group/redis/transport.ts'
import type { Sight, World } from './world.ts'
import {
  DELAY_KEYS,
  dueOf,
  fieldsOf,
  GROUP,
  handledBy,
  KEYS,
  letterOf,
  MARKERS,
  pauseText,
  SLOTS,
  STREAM,
  streamEntry,
  TRIMMED_IDLE_MS,
} from './world.ts'

/** Time goes by: entries age, due times and the ends of leases come nearer. What is trimmed is left alone: XCLAIM would drop it. */
const PASS = `
local stream, due, state, delayed, next, group, ms = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], ARGV[1], tonumber(ARGV[2])
local pending = redis.pcall('XPENDING', stream, group, '-', '+', 100000)
if pending.err then pending = {} end
for _, p in ipairs(pending) do
  -- from 7.0 on XCLAIM drops what was trimmed, which is not time's to do
  if not redis.REDIS_VERSION or redis.call('XRANGE', stream, p[1], p[1])[1] then
    redis.call('XCLAIM', stream, group, p[2], 0, p[1], 'IDLE', p[3] + ms, 'JUSTID')
  end
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', '(9000000000000000')) do
  redis.call('ZINCRBY', due, ('%.0f'):format(-ms * 1024), id)
end
for _, field in ipairs(redis.call('HKEYS', state)) do
  -- entries age a little more than they should: their idle times are read and set by two clocks
  if field:find('^doubt:') then redis.call('HINCRBY', state, field, 1 - ms) end
end
for _, member in ipairs(redis.call('ZRANGE', delayed, 0, -1)) do redis.call('ZINCRBY', delayed, -ms, member) end
if redis.call('EXISTS', next) == 1 then redis.call('DECRBY', next, ms) end
for at = 6, #KEYS do
  local left = redis.call('PTTL', KEYS[at])
  if left > ms then redis.call('PEXPIRE', KEYS[at], left - ms) elseif left >= 0 then redis.call('DEL', KEYS[at]) end
end
`

const TRIM = `
for i = 3, #ARGV do
  local pending = redis.pcall('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1)
  local p = not pending.err and pending[1]
  if p then redis.call('XCLAIM', KEYS[1], ARGV[1], p[2], 0, p[1], 'IDLE', ARGV[2], 'JUSTID') end
  redis.call('XDEL', KEYS[1], ARGV[i])
end
`

const LOOK = `
local stream, due, letters, delayed, events, next, group = KEYS[1], KEYS[2], KEYS[3], KEYS[6], KEYS[7], KEYS[8], ARGV[1]
if redis.call('TYPE', letters).ok == 'string' then letters = KEYS[4] end
local waiting = {}
for _, text in ipairs(redis.call('ZRANGE', KEYS[5], 0, -1)) do
  local condition, ms, seq, count = text:match('^(.-)\\n[A-T](%d+)[A-T](%d+):(%d+)$')
  waiting[#waiting + 1] = condition .. ' ' .. ms .. '-' .. seq .. ' ' .. count
end
local last, leases, ids = false, {}, {}
local groups = redis.pcall('XINFO', 'GROUPS', stream)
for _, info in ipairs(groups.err and {} or groups) do
  local fields = {}
  for i = 1, #info, 2 do fields[info[i]] = info[i + 1] end
  if fields['name'] == group then last = fields['last-delivered-id'] end
end
for _, entry in ipairs(redis.call('XRANGE', stream, '-', '+')) do
  local fields = {}
  for i = 1, #entry[2], 2 do fields[entry[2][i]] = entry[2][i + 1] end
  ids[#ids + 1] = {entry[1], fields['eventId'] or '', fields['payload'] or ''}
end
local waits, indexed = {}, 0
local function numberAt(text, at)
  local n, unit, byte = 0, 1
  repeat
    byte = text:byte(at)
    n, unit, at = n + byte % 128 * unit, unit * 128, at + 1
  until byte < 128
  return n, at
end
local pages = redis.call('ZRANGE', delayed, 0, -1, 'WITHSCORES')
for at = 1, #pages, 2 do
  local page, from = redis.call('HGET', events, 'p' .. pages[at]), 1
  while from <= #page do
    local after, first = numberAt(page, from)
    local isUuid, length, start = page:sub(first, first) == 'u', 16, first + 1
    if not isUuid then length, start = numberAt(page, start) end
    local id = page:sub(start, start + length - 1)
    if isUuid then id = ('%02x'):rep(16):format(id:byte(1, 16)):gsub('^(........)(....)(....)(....)', '%1-%2-%3-%4-') end
    waits[#waits + 1], waits[#waits + 2] = id, ('%.0f'):format(pages[at + 1] + after)
    length, start = numberAt(page, start + length)
    from = start + length
  end
end
for _, field in ipairs(redis.call('HKEYS', events)) do
  if field:find('^b') then indexed = indexed + redis.call('HSTRLEN', events, field) / 8 end
end
local counted = tonumber((redis.call('HGET', events, '#') or '0'):match('^%d+'))
for at = 9, #KEYS do leases[#leases + 1] = redis.call('GET', KEYS[at]) or '' end
local names, markers = {}, redis.call('KEYS', ARGV[2] .. '*')
for at = #markers, 1, -1 do
  local text = redis.call('GET', markers[at])
  markers[at] = {markers[at]:sub(#ARGV[2] + 1), text}
end
for _, info in ipairs(last and redis.call('XINFO', 'CONSUMERS', stream, group) or {}) do names[#names + 1] = info[2] end
return {last, ids, last and redis.call('XPENDING', stream, group, '-', '+', 100000) or {}, redis.call('XRANGE', letters, '-', '+'),
  redis.call('ZRANGE', due, 0, -1, 'WITHSCORES'), leases, names, waiting, markers,
  redis.call('TIME')[1] * 1000 + math.floor(redis.call('TIME')[2] / 1000),
  waits, redis.call('GET', next), counted == indexed and counted or -1}
`

/** Where the dead letters are while new ones are refused. */
const ASIDE = `${KEYS.deadLetters}:aside`

const LEASES = SLOTS.map(KEYS.slot)

type Look = [
  string | null,
  [string, string, string][],
  [string, string, number, number][],
  [string, string[]][],
  string[],
  string[],
  string[],
  string[],
  [string, string][],
  number,
  string[],
  string | null,
  number,
]

/** A private Redis, all of whose processes share one socket: a call is one write of commands, and may be cut in the middle. */
export function createRedisWorld(url: string): World & { close(): void } {
  const client = new Redis(url, { protocol: 2 })
  const outside = new Redis(url, { protocol: 2 })
  const run = async (commands: readonly RedisCommand[]): Promise<RedisReply[]> => {
    const pipeline = client.pipeline()
    for (const [name, ...args] of commands) pipeline.callBuffer(name, args)
    const results = (await pipeline.exec()) ?? []
    return results.map(([error, reply]) => (error ? new RedisReplyError(error.message) : (reply as RedisReply)))
  }
  // without the scripts, too: how many round trips a call takes must not depend on what was played before
  const flush = async () => void (await outside.pipeline().flushall().script('FLUSH').exec())
  return {
    name: 'Redis',
    resends: true,
    connect: (caller) =>
      createRedisConnection({
        scriptPrefix: '',
        send: (commands, timeoutMs) =>
          caller.call(
            {
              label: commands.map(([name]) => name).join(' '),
              parts: commands.length,
              carryOut: (from, to) => run(commands.slice(from, to)),
              reply: (answers, lost) =>
                commands.map(
                  (_command, n) => (answers[n] ?? (n < answers.length ? null : lost)) as ReplyOrConnectionError,
                ),
            },
            timeoutMs,
          ),
        close: async () => {},
      }),
    async look() {
      const { delayed, events, next } = DELAY_KEYS
      const keys = [STREAM, KEYS.due, KEYS.deadLetters, ASIDE, KEYS.waiting, delayed, events, next, ...LEASES]
      const reply = (await outside.eval(LOOK, keys.length, ...keys, GROUP, MARKERS)) as Look
      const [lastDelivered, stream, pending, letters, due, leases, consumers, waiting, markers, nowMs, ...delays] =
        reply
      return {
        lastDelivered: lastDelivered ?? undefined,
        nowMs,
        stream: stream.map(([id, eventId, payload]) => streamEntry(id, eventId, () => payload)),
        delays: seenDelays(...delays),
        pending: pending.map(([id, owner, idleMs, count]) => ({ id, owner, idleMs, count })),
        letters: letters.map(([, flat]) => letterOf(pairs(flat))),
        ...dueOf(
          pairs(due).map(([id, score]) => [id, Number(score)]),
          nowMs,
        ),
        waiting,
        handled: new Map(
          markers.flatMap(([event, text]) => {
            const by = handledBy(text)
            return by === undefined ? [] : [[event, by] as const]
          }),
        ),
        leases: new Map(SLOTS.flatMap((name, n) => (leases[n] ? [[name, leases[n]] as const] : []))),
        consumers,
      }
    },
    async pass(ms) {
      const keys = [STREAM, KEYS.due, KEYS.state, DELAY_KEYS.delayed, DELAY_KEYS.next, ...LEASES]
      await outside.eval(PASS, keys.length, ...keys, GROUP, ms)
    },
    async add(entries) {
      const pipeline = outside.pipeline()
      for (const [id, orderId] of entries) pipeline.xadd(STREAM, id, ...fieldsOf(orderId).flat())
      await pipeline.exec()
    },
    trim: async (ids) => void (ids.length > 0 && (await outside.eval(TRIM, 1, STREAM, GROUP, TRIMMED_IDLE_MS, ...ids))),
    async lose(what) {
      if (what === 'group') await outside.xgroup('DESTROY', STREAM, GROUP).catch(() => {})
      else if (what === 'stream') await outside.del(STREAM)
      else await flush()
      // ids are times: none must come again
      await sleep(2)
    },
    async jam(isJammed) {
      const isNow = (await outside.type(KEYS.deadLetters)) === 'string'
      if (isJammed === isNow) return
      if (isJammed) {
        await outside.rename(KEYS.deadLetters, ASIDE).catch(() => {})
        await outside.set(KEYS.deadLetters, 'no stream')
      } else {
        await outside.del(KEYS.deadLetters)
        await outside.rename(ASIDE, KEYS.deadLetters).catch(() => {})
      }
    },
    pause: async (name) =>
      void (await (name === undefined ? outside.del(KEYS.paused) : outside.set(KEYS.paused, pauseText(name)))),
    nowMs: () => Date.now(),
    driftMs: () => performance.now(),
    clear: flush,
    close() {
      client.disconnect()
      outside.disconnect()
    },
  }
}

function seenDelays(waits: readonly string[], next: string | null, records: number): Sight['delays'] {
  const waiting = pairs(waits).map(([eventId, dueAt]) => [eventId, Number(dueAt)] as const)
  waiting.sort(([, a], [, b]) => a - b)
  return { waiting, nextAt: next === null ? undefined : Number(next), records }
}

function pairs(flat: readonly string[]): [string, string][] {
  return Array.from({ length: flat.length / 2 }, (_, n): [string, string] => [flat[2 * n] ?? '', flat[2 * n + 1] ?? ''])
}
