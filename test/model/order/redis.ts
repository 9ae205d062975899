import { Redis } from 'ioredis'
import type { Connection, Consumer } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { dropDeadLetters, redriveDeadLetters } from 'millrace/operate'
import { createRedisConnection } from '../../../dist/group/redis/redis-connection.js'
import { consumerKeys } from '../../../src/core/keys.ts'
import type { RedisCommand, Transport } from '../../../src/group/redis/transport.ts'
import type { Process } from './process.ts'
import type { Network, OrderServer, SeenLetter, Sight } from './server.ts'
import { send } from './server.ts'
import { GROUP, STREAM } from './setting.ts'

const KEYS = consumerKeys(STREAM, GROUP)
const SLOTS = ['poller-0', 'poller-1', 'poller-2', 'poller-3', 'claimer-0', 'claimer-1']
const NOW = 'model:now'

/** Scripts read the model's time. */
const PREFIX = `local redis = (function()
local server = redis
return setmetatable({call = function(name, ...)
  if name ~= 'TIME' then return server.call(name, ...) end
  local now = server.call('GET', '${NOW}')
  return {now:sub(1, -4), now:sub(-3) .. '000'}
end}, {__index = server})
end)()
`

/** Time goes by: entries age, the ends of keys come nearer. What was trimmed is left alone: XCLAIM would drop it. */
const PASS = `
local now, ms = KEYS[1], tonumber(ARGV[2])
redis.call('SET', now, ARGV[1])
if ms == 0 then return end
local pending = redis.pcall('XPENDING', '${STREAM}', '${GROUP}', '-', '+', 100000)
if pending.err then pending = {} end
for _, p in ipairs(pending) do
  if redis.call('XRANGE', '${STREAM}', p[1], p[1])[1] then
    redis.call('XCLAIM', '${STREAM}', '${GROUP}', p[2], 0, p[1], 'IDLE', p[3] + ms, 'JUSTID')
  end
end
for _, key in ipairs(redis.call('KEYS', '*')) do
  local left = redis.call('PTTL', key)
  if left > ms then redis.call('PEXPIRE', key, left - ms) elseif left >= 0 then redis.call('DEL', key) end
end
`

const LOOK = `
local last
local groups = redis.pcall('XINFO', 'GROUPS', '${STREAM}')
for _, info in ipairs(groups.err and {} or groups) do
  local fields = {}
  for i = 1, #info, 2 do fields[info[i]] = info[i + 1] end
  if fields['name'] == '${GROUP}' then last = fields['last-delivered-id'] end
end
local ids = {}
for _, entry in ipairs(redis.call('XRANGE', '${STREAM}', '-', '+')) do ids[#ids + 1] = entry[1] end
local leases = {}
for n = 1, #KEYS do leases[n] = redis.call('GET', KEYS[n]) or '' end
local unread = #redis.call('XRANGE', '${STREAM}', last and '(' .. last or '-', '+')
return {last and 1 or 0, last and redis.call('XPENDING', '${STREAM}', '${GROUP}', '-', '+', 100000) or {}, leases, ids, unread}
`

/** A real server, whose time is the model's. */
export class RedisOrderServer implements OrderServer {
  readonly #network: Network
  readonly #raw: Redis
  readonly #transport: Transport
  readonly outside: Connection
  #nowMs = 0
  #isFull = false
  #free = 0
  #passing: Promise<unknown> = Promise.resolve()

  constructor(network: Network, { raw, inner }: RedisClients) {
    this.#network = network
    this.#raw = raw
    const { transport } = inner
    const { time } = network
    this.#transport = {
      scriptPrefix: PREFIX,
      send: (commands: readonly RedisCommand[], timeoutMs?: number) =>
        time.real(
          (async () => {
            await this.#pass()
            const answers = await transport.send(commands, timeoutMs)
            const now = [Math.floor(time.nowMs / 1_000), (time.nowMs % 1_000) * 1_000].map(String)
            return answers.map((answer, n) => (commands[n]?.[0] === 'time' ? now : answer))
          })(),
        ),
      close: async () => {},
    }
    this.outside = createRedisConnection(this.#transport as never) as never
  }

  /** What has passed on the model's clock since. */
  #pass(): Promise<unknown> {
    const { nowMs } = this.#network.time
    if (nowMs !== this.#nowMs) {
      const ms = this.#nowMs === 0 ? 0 : nowMs - this.#nowMs
      this.#nowMs = nowMs
      this.#passing = this.#freely(() => this.#raw.eval(PASS, 1, NOW, nowMs, ms))
    }
    return this.#passing
  }

  /** What a test does takes no notice of full memory. */
  async #freely<T>(what: () => Promise<T>): Promise<T> {
    if (!this.#isFull) return what()
    if (this.#free++ === 0) await this.#raw.config('SET', 'maxmemory', '0')
    try {
      return await what()
    } finally {
      if (--this.#free === 0 && this.#isFull) await this.#raw.config('SET', 'maxmemory', '1')
    }
  }

  #ask<T>(what: () => Promise<T>): Promise<T> {
    return this.#network.time.real(
      (async () => {
        await this.#pass()
        return this.#freely(what)
      })(),
    )
  }

  add(id: string, fields: Readonly<Record<string, string>>): Promise<void> {
    return this.#ask(async () => void (await this.#raw.xadd(STREAM, id, ...Object.entries(fields).flat())))
  }

  look(): Promise<Sight> {
    return this.#ask(async () => {
      const [hasGroup, pending, leases, ids, unread] = (await this.#raw.eval(
        LOOK,
        SLOTS.length,
        ...SLOTS.map((name) => KEYS.slot(name)),
      )) as [number, [string, string, number, number][], string[], string[], number]
      return {
        hasGroup: hasGroup === 1,
        pending: new Map(pending.map(([id, owner, , count]) => [id, { owner, count }])),
        leases: new Map(SLOTS.map((name, n) => [name, leases[n] as string])),
        ids: new Set(ids),
        unread,
      }
    })
  }

  letters(): Promise<readonly SeenLetter[]> {
    return this.#ask(async () =>
      (await this.#raw.xrange(KEYS.deadLetters, '-', '+')).map(([, fields]) => ({
        entryId: fields[3] as string,
        reason: fields[fields.indexOf('reason') + 1] as string,
      })),
    )
  }

  left(): Promise<string> {
    return this.#ask(async () =>
      JSON.stringify([
        await this.#raw.xpending(STREAM, GROUP, '-', '+', 100).catch(() => []),
        await this.#raw.zrange(KEYS.due, '0', '-1', 'WITHSCORES'),
        await this.#raw.zrange(KEYS.waiting, '0', '-1'),
        await this.#raw.hgetall('{orders}:billing:lanes'),
        await this.#raw.hgetall('{orders}:billing:lane-of'),
        await this.#raw.hgetall(KEYS.state),
      ]),
    )
  }

  async redrive(consumer: Consumer): Promise<readonly string[]> {
    const before = await this.letters()
    if (before.length === 0 || !(await this.look()).hasGroup) return []
    await this.#freely(() => redriveDeadLetters(consumer, { redis: this.outside, all: true }))
    const left = new Set((await this.letters()).map(({ entryId }) => entryId))
    return [...new Set(before.map(({ entryId }) => entryId))].filter((id) => !left.has(id))
  }

  async drop(consumer: Consumer, byHand: boolean): Promise<void> {
    if (byHand) await this.#ask(async () => void (await this.#raw.del(KEYS.deadLetters)))
    else await this.#freely(() => dropDeadLetters(consumer, { redis: this.outside, all: true }))
  }

  loseGroup(): Promise<void> {
    return this.#ask(async () => void (await this.#raw.xgroup('DESTROY', STREAM, GROUP).catch(() => 0)))
  }

  trim(count: number): Promise<void> {
    return this.#ask(async () => {
      const length = await this.#raw.xlen(STREAM)
      await this.#raw.xtrim(STREAM, 'MAXLEN', String(Math.max(0, length - count)))
    })
  }

  delete(id: string): Promise<void> {
    return this.#ask(async () => void (await this.#raw.xdel(STREAM, id)))
  }

  async full(isFull: boolean): Promise<void> {
    this.#isFull = isFull
    await this.#network.time.real(this.#raw.config('SET', 'maxmemory', isFull ? '1' : '0'))
  }

  unplaced(ids: readonly string[]): Promise<readonly string[]> {
    return this.#ask(async () => {
      const lanes = await this.#raw.hmget('{orders}:billing:lane-of', ...ids)
      return ids.filter((_id, n) => lanes[n] === null)
    })
  }

  connect(process: Process): Connection {
    return createRedisConnection({
      scriptPrefix: PREFIX,
      send: async (commands: readonly RedisCommand[], timeoutMs?: number) => {
        for (const command of commands)
          for (const argument of command)
            if (typeof argument === 'string' && TOKEN.test(argument)) process.tokens.add(argument)
        return send(this.#network, process, {
          label: `${commands.map(([name]) => name).join('+')}`,
          parts: commands.length,
          resends: true,
          carryOut: (from, to) =>
            from < to ? this.#transport.send(commands.slice(from, to), timeoutMs) : Promise.resolve([]),
          reply(answers, lost) {
            if (!lost) return answers
            if (answers.length === 0) throw lost
            return commands.map((_command, n) => (n < answers.length ? answers[n] : lost))
          },
        })
      },
      close: async () => {},
    } as never) as never
  }
}

const TOKEN = /^[\da-f]{8}-[\da-f-]{27}$/

export interface RedisClients {
  readonly raw: Redis
  readonly inner: Connection & { readonly transport: Transport }
}

/** Clients that all worlds share. */
export function redisClients(url: string): RedisClients & { close(): Promise<void> } {
  const raw = new Redis(url)
  const inner = connectIoredis(url) as Connection & { readonly transport: Transport }
  return {
    raw,
    inner,
    async close() {
      await inner.close()
      raw.disconnect()
    },
  }
}
