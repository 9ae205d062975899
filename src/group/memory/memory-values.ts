import { COMMANDS_JOINABLE_TO_ACK } from '../../core/joinable.ts'
import type { JoinedCommand } from '../../core/outcome.ts'
import { RedisReplyError } from '../../errors.ts'
import type { StreamTrim } from '../connection.ts'
import type { RedisReply } from '../redis/transport.ts'
import type { Value } from './memory-value-kinds.ts'
import {
  added,
  added64,
  addScores,
  addToScore,
  copyOf,
  count,
  HyperLogLog,
  inOrder,
  pairsOf,
  removeByRank,
  removeByScore,
  Scores,
  within,
} from './memory-value-kinds.ts'

interface Kept {
  value: Value
  /** Milliseconds since 1970. */
  until: number
}

type Carry = (values: MemoryValues, key: string, args: readonly string[]) => RedisReply

/** What holds streams beside the values, and gives the time. */
interface StreamsBeside {
  readonly clock: { now(): number }
  readonly streams: { has(key: string): boolean; delete(key: string): boolean }
  stream(key: string): {
    add(fields: readonly (readonly [string, string])[], nowMs: number): string
    trim(trim: StreamTrim, nowMs: number): number
  }
}

/** Whether a policy may send that command to memory. */
export function isMemoryCommand(command: string): boolean {
  return Object.hasOwn(COMMANDS, command.toLowerCase())
}

/** Strings, sets, hashes and sorted sets in memory, by the commands that policies send. */
export class MemoryValues {
  readonly #server: StreamsBeside
  readonly #kept = new Map<string, Kept>()
  readonly #original: MemoryValues | undefined

  /** @param original What it is a trial of. */
  constructor(server: StreamsBeside, original?: MemoryValues) {
    this.#server = server
    this.#original = original
  }

  /** What a key holds. */
  valueOf(key: string): Value | undefined {
    return this.#alive(key)?.value
  }

  /** The same again, for trying commands out: nothing of it is seen here. */
  trial(): MemoryValues {
    const streams = new Map<string, boolean>()
    const has = (key: string) => streams.get(key) ?? this.#server.streams.has(key)
    const remove = (key: string) => {
      const was = has(key)
      streams.set(key, false)
      return was
    }
    const stream = (key: string) => {
      streams.set(key, true)
      return { add: () => '0-1', trim: () => 0 }
    }
    return new MemoryValues({ clock: this.#server.clock, streams: { has, delete: remove }, stream }, this)
  }

  /** Carries a command out as a server does; its refusal is the answer. */
  run([name, ...args]: JoinedCommand): RedisReply {
    const carry = isMemoryCommand(name) && COMMANDS[name.toLowerCase()]
    if (!carry) return new RedisReplyError(`ERR unknown command '${name}' in memory`)
    const [key = '', ...rest] = args.map(String)
    try {
      return carry(this, key, rest)
    } catch (error) {
      return error as RedisReplyError
    }
  }

  /** Why a command would be refused, by the type of its key. */
  refusalOf([name, key]: JoinedCommand): string | undefined {
    const wanted = COMMANDS_JOINABLE_TO_ACK[name.toLowerCase()]
    if (wanted === undefined) return `ERR unknown command '${name}' in memory`
    const is = this.typeOf(String(key))
    if (wanted === '' || is === 'none' || is === wanted) return undefined
    return `WRONGTYPE ${name} needs a ${wanted}, the key is a ${is}`
  }

  typeOf(key: string): string {
    const value = this.#alive(key)?.value
    if (value === undefined) return this.#server.streams.has(key) ? 'stream' : 'none'
    if (typeof value === 'string' || value instanceof HyperLogLog) return 'string'
    return value instanceof Set ? 'set' : value instanceof Scores ? 'zset' : 'hash'
  }

  get<T extends Value>(key: string, kind: string): T | undefined {
    const is = this.typeOf(key)
    if (is !== 'none' && is !== kind)
      throw new RedisReplyError('WRONGTYPE Operation against a key holding the wrong kind of value')
    return this.#alive(key)?.value as T | undefined
  }

  put(key: string, value: Value, ttlMs = Infinity): void {
    this.#server.streams.delete(key)
    this.#kept.set(key, { value, until: this.#server.clock.now() + ttlMs })
  }

  /** Puts a value in the place of what a key holds; its time to live stays. */
  change(key: string, value: Value): void {
    const kept = this.#alive(key)
    if (kept) kept.value = value
    else this.put(key, value)
  }

  expire(key: string, ttlMs: number): boolean {
    const kept = this.#alive(key)
    if (kept) kept.until = this.#server.clock.now() + ttlMs
    return kept !== undefined
  }

  delete(key: string): boolean {
    const isThere = this.#alive(key) !== undefined
    if (this.#original) this.#kept.set(key, { value: '', until: -Infinity })
    else this.#kept.delete(key)
    return this.#server.streams.delete(key) || isThere
  }

  /** @param args Of XADD, after its key; the id is `*`. */
  append(key: string, args: readonly string[]): string {
    this.get(key, 'stream')
    const at = args.indexOf('*')
    const pairs = args.slice(at + 1)
    const fields = Array.from(
      { length: pairs.length / 2 },
      (_, n) => [pairs[2 * n] ?? '', pairs[2 * n + 1] ?? ''] as const,
    )
    const { clock } = this.#server
    const stream = this.#server.stream(key)
    const id = stream.add(fields, clock.now())
    const bound = Number(args[at - 1])
    if (args[0]?.toUpperCase() === 'MINID') stream.trim({ kind: 'age', retentionMs: bound, exact: true }, clock.now())
    else if (at > 0) stream.trim({ kind: 'length', maxLength: bound, exact: true }, clock.now())
    return id
  }

  /** Of what a trial has not touched yet. */
  #copyOf(key: string): Kept | undefined {
    if (!this.#original) return undefined
    const kept = this.#original.#alive(key)
    if (!kept) return undefined
    const copy = { value: copyOf(kept.value), until: kept.until }
    this.#kept.set(key, copy)
    return copy
  }

  #alive(key: string): Kept | undefined {
    const kept = this.#kept.get(key) ?? this.#copyOf(key)
    return kept && kept.until > this.#server.clock.now() ? kept : undefined
  }
}

function changed<T extends Exclude<Value, string>>(
  kind: string,
  make: () => T,
  change: (value: T, args: readonly string[]) => RedisReply,
): Carry {
  return (values, key, args) => {
    const found = values.get<T>(key, kind)
    const value = found ?? make()
    const reply = change(value, args)
    if (value.size === 0) values.delete(key)
    else if (!found) values.put(key, value)
    return reply
  }
}

const COMMANDS: Readonly<Record<string, Carry>> = {
  get: (values, key) => {
    const text = values.get<string | HyperLogLog>(key, 'string') ?? null
    return text instanceof HyperLogLog ? `HYLL${text.size}` : text
  },
  exists: (values, key) => Number(values.typeOf(key) !== 'none'),
  set: (values, key, [value = '', ...options]) => {
    const upper = options.map((option) => option.toUpperCase())
    if (upper.includes('NX') && values.typeOf(key) !== 'none') return null
    if (upper.includes('XX') && values.typeOf(key) === 'none') return null
    const at = upper.findIndex((option) => option === 'PX' || option === 'EX')
    const ttlMs = at < 0 ? Infinity : Number(options[at + 1]) * (upper[at] === 'EX' ? 1_000 : 1)
    values.put(key, value, ttlMs)
    return 'OK'
  },
  del: (values, key) => Number(values.delete(key)),
  incrby: (values, key, [by = '']) => {
    const text = values.get<string | HyperLogLog>(key, 'string') ?? '0'
    const next = added64(typeof text === 'string' ? text : '', by)
    values.change(key, next)
    return Number(next)
  },
  hincrby: (values, key, [field = '', by = '']) => {
    const hash = values.get<Map<string, string>>(key, 'hash') ?? new Map<string, string>()
    hash.set(field, added64(hash.get(field) ?? '0', by))
    values.change(key, hash)
    return Number(hash.get(field))
  },
  pfadd: (values, key, elements) => {
    const found = values.get<string | HyperLogLog>(key, 'string') ?? new HyperLogLog()
    if (!(found instanceof HyperLogLog))
      throw new RedisReplyError('WRONGTYPE Key is not a valid HyperLogLog string value.')
    const before = found.size
    for (const element of elements) found.add(element)
    values.change(key, found)
    return Number(found.size > before)
  },
  pfcount: (values, key) => values.get<HyperLogLog>(key, 'string')?.size ?? 0,
  hgetall: (values, key) => [...(values.get<Map<string, string>>(key, 'hash') ?? [])].flat(),
  pexpire: (values, key, [ms]) => Number(values.expire(key, Number(ms))),
  incr: (values, key) => {
    const next = Number(values.get<string>(key, 'string') ?? 0) + 1
    values.put(key, String(next))
    return next
  },
  sadd: changed(
    'set',
    () => new Set<string>(),
    (set, members) => {
      const before = set.size
      for (const member of members) set.add(member)
      return set.size - before
    },
  ),
  srem: changed(
    'set',
    () => new Set<string>(),
    (set, members) => count(members.map((member) => set.delete(member))),
  ),
  smembers: (values, key) => [...(values.get<Set<string>>(key, 'set') ?? [])],
  sismember: (values, key, [member = '']) => Number(values.get<Set<string>>(key, 'set')?.has(member) ?? false),
  hset: changed(
    'hash',
    () => new Map<string, string>(),
    (hash, args) => count(pairsOf(args).map(([field, value]) => added(hash, field, value))),
  ),
  hdel: changed(
    'hash',
    () => new Map<string, string>(),
    (hash, fields) => count(fields.map((field) => hash.delete(field))),
  ),
  hget: (values, key, [field = '']) => values.get<Map<string, string>>(key, 'hash')?.get(field) ?? null,
  zadd: changed('zset', () => new Scores(), addScores),
  zincrby: changed('zset', () => new Scores(), addToScore),
  type: (values, key) => values.typeOf(key),
  zrem: changed(
    'zset',
    () => new Scores(),
    (scores, members) => count(members.map((member) => scores.delete(member))),
  ),
  zscore: (values, key, [member = '']) => {
    const score = values.get<Scores>(key, 'zset')?.get(member)
    return score === undefined ? null : String(score)
  },
  zremrangebyscore: changed('zset', () => new Scores(), removeByScore),
  zremrangebyrank: changed('zset', () => new Scores(), removeByRank),
  zrangebyscore: (values, key, [min, max]) =>
    inOrder(values.get<Scores>(key, 'zset') ?? new Scores())
      .filter(([, score]) => score >= within(min) && score <= within(max))
      .map(([member]) => member),
  xadd: (values, key, args) => values.append(key, args),
}
