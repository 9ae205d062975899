import { RedisReplyError } from '../../errors.ts'

/** What a key holds: a string, a set, a hash or a sorted set. */
export type Value = string | Set<string> | Map<string, string> | Scores

/** A sorted set. */
export class Scores extends Map<string, number> {}

/** Members from the lowest score up; those of one score by name. */
export const inOrder = (scores: Scores) => [...scores].sort(([a, left], [b, right]) => left - right || (a < b ? -1 : 1))

/** Counts exactly, where a server estimates. */
export class HyperLogLog extends Set<string> {}

export function copyOf(value: Value): Value {
  if (typeof value === 'string') return value
  if (value instanceof HyperLogLog) return new HyperLogLog(value)
  if (value instanceof Set) return new Set(value)
  return value instanceof Scores ? new Scores(value) : new Map(value as Map<string, string>)
}

export const count = (list: readonly boolean[]) => list.filter(Boolean).length
export const pairsOf = (args: readonly string[]) =>
  Array.from({ length: args.length / 2 }, (_, n) => [args[2 * n] ?? '', args[2 * n + 1] ?? ''] as const)
export const within = (bound: string | undefined) =>
  bound === '-inf' ? -Infinity : bound === '+inf' ? Infinity : Number(bound)

export function added(map: Map<string, unknown>, key: string, value: unknown): boolean {
  const isNew = !map.has(key)
  map.set(key, value)
  return isNew
}

/** @throws {RedisReplyError} No integers of 64 bits, or their sum is none. */
export function added64(text: string, by: string): string {
  const isInteger = (digits: string) =>
    /^(?:0|-?[1-9]\d{0,18})$/.test(digits) && BigInt.asIntN(64, BigInt(digits)) === BigInt(digits)
  if (!isInteger(text) || !isInteger(by)) throw new RedisReplyError('ERR value is not an integer or out of range')
  const sum = BigInt(text) + BigInt(by)
  if (!isInteger(String(sum))) throw new RedisReplyError('ERR increment or decrement would overflow')
  return String(sum)
}

/** What ZADD's options let have a score. */
const SCORE_CONDITIONS: Readonly<Record<string, (is: number | undefined, score: number) => boolean>> = {
  NX: (is) => is === undefined,
  XX: (is) => is !== undefined,
  GT: (is, score) => is === undefined || score > is,
  LT: (is, score) => is === undefined || score < is,
}

export function addScores(scores: Scores, args: readonly string[]): number {
  const condition = SCORE_CONDITIONS[args[0]?.toUpperCase() ?? '']
  const pairs = pairsOf(condition ? args.slice(1) : args).map(([score, member]) => [within(score), member] as const)
  const wanted = pairs.filter(([score, member]) => condition?.(scores.get(member), score) ?? true)
  return count(wanted.map(([score, member]) => added(scores, member, score)))
}

/** @param args Of ZINCRBY, after its key. */
export function addToScore(scores: Scores, [by = '', member = '']: readonly string[]): string {
  const score = (scores.get(member) ?? 0) + Number(by)
  scores.set(member, score)
  return String(score)
}

/** @param args Of ZREMRANGEBYSCORE, after its key. */
export function removeByScore(scores: Scores, [min, max]: readonly string[]): number {
  const inside = [...scores].filter(([, score]) => score >= within(min) && score <= within(max))
  return count(inside.map(([member]) => scores.delete(member)))
}

/** @param args Of ZREMRANGEBYRANK, after its key. */
export function removeByRank(scores: Scores, [start, stop]: readonly string[]): number {
  const place = (rank = '0') => Math.max(0, Number(rank) < 0 ? scores.size + Number(rank) : Number(rank))
  const end = Number(stop) < -scores.size ? 0 : place(stop) + 1
  const inside = inOrder(scores).slice(place(start), end)
  return count(inside.map(([member]) => scores.delete(member)))
}
