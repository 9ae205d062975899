import { UNKNOWN_HOLD_MS } from '../../core/gates.ts'
import { replyAsRecord, replyAsText } from '../../group/redis/commands/reply.ts'
import type { CallSender } from '../../group/redis/sender.ts'
import { type AnswerOrRefusal, askQuestions, type RefusedAnswer, type ServerQuestion } from '../ask.ts'
import type { LimitInspection } from '../inspect/inspection.ts'
import type { ConsumerLimit } from './consumer-limits.ts'

/** A limit's hash, as it lies beside the group: no field where nobody uses it. */
type LimitFields = Readonly<Record<string, string>>

function limitQuestion(key: string): ServerQuestion<LimitFields> {
  return {
    call: ['hgetall', key],
    right: '+hgetall',
    read: (reply) =>
      Object.fromEntries(Object.entries(replyAsRecord(reply)).map(([name, text]) => [name, replyAsText(text)])),
  }
}

/** The part of a window that turns are farther apart by, at most so many milliseconds: what starts late, and what comes early. */
const SPARE = { late: 0.02, early: 0.01, mostMs: 500, leastLateMs: 2 }

/** Milliseconds between two turns. @param lateMs How late handlers start after their turn, as a run noted; at least what every run allows for. */
export function msBetweenTurns(max: number, perMs: number, lateMs = 0): number {
  const late = Math.max(lateMs, SPARE.leastLateMs, Math.min(SPARE.mostMs, SPARE.late * perMs))
  return (perMs + late + Math.min(SPARE.mostMs, SPARE.early * perMs)) / max
}

/** The limits that have no `by`, as the server has them: one round trip, or none where there are none. @param at Milliseconds since 1970, on the server's clock. */
export async function askLimits(
  sender: CallSender,
  limits: readonly ConsumerLimit[],
  at: number,
): Promise<AnswerOrRefusal<readonly LimitInspection[]>> {
  const known = limits.flatMap((limit) => (limit.key === undefined ? [] : [{ limit, key: limit.key }]))
  if (known.length === 0) return { value: [] }
  const told = await askQuestions(sender, Object.fromEntries(known.map(({ key }) => [key, limitQuestion(key)])))
  const refused = Object.values(told).find((answer): answer is RefusedAnswer => 'refusal' in answer)
  if (refused) return refused
  return {
    value: known.flatMap(({ limit, key }) => {
      const answer = told[key]
      return answer && 'value' in answer ? [limitOf(limit, answer.value, at)] : []
    }),
  }
}

function limitOf(limit: ConsumerLimit, fields: LimitFields, at: number): LimitInspection {
  const { key: _key, ...known } = limit
  const { free, late, line = 0, avg } = numbersOf(fields)
  const lineMs = Math.max(0, Math.round(line - at))
  if (limit.perMs !== undefined) {
    const nextTurnInMs = Math.max(0, Math.round((free ?? 0) - at))
    const apartMs = msBetweenTurns(limit.max, limit.perMs, late)
    // who waits first has the next turn
    const waiting = lineMs === 0 ? 0 : 1 + Math.max(0, Math.round((lineMs - nextTurnInMs) / apartMs))
    return { ...known, nextTurnInMs, lineMs, waiting }
  }
  const held = Object.entries(fields).filter(([name, ends]) => name.startsWith('@') && Number(ends) > at).length
  const waiting = Math.round((lineMs * limit.max) / Math.max(1, avg ?? UNKNOWN_HOLD_MS))
  return { ...known, held, ...(avg !== undefined && { meanHoldMs: Math.round(avg) }), lineMs, waiting }
}

function numbersOf(fields: LimitFields): Partial<Record<'free' | 'late' | 'line' | 'avg', number>> {
  const numbers = ['free', 'late', 'line', 'avg'].map((name) => [name, Number(fields[name])] as const)
  return Object.fromEntries(numbers.filter(([, value]) => Number.isFinite(value)))
}
