import { COUNTS } from '../../core/due-score.ts'
import { compareEntryIds } from '../../core/entry.ts'
import { AGING_CONSUMER, PARKED_CONSUMER } from '../../core/keys.ts'
import { HOLD_ANSWERS, HOLD_WAIT_MS, MARKER_STATES } from '../../core/markers.ts'
import type { JoinedCommand, ScriptQuestion } from '../../core/outcome.ts'
import type { PlainReply } from '../../core/plain-reply.ts'
import type { MemoryGroupBase } from './memory-group-base.ts'
import { TAKEN_SCORE } from './memory-group-base.ts'
import type { StoredPendingEntry } from './memory-server.ts'

/** `d` or `h`, and an entry's id. */
const MARKER = new RegExp(`^([${MARKER_STATES.handled}${MARKER_STATES.held}])(\\d+-\\d+)$`)

export function isScriptQuestion(question: JoinedCommand | ScriptQuestion): question is ScriptQuestion {
  return !Array.isArray(question)
}

/** Holds markers as `scripts/hold-markers.ts` does. */
export function holdMarkersInMemory(calls: MemoryGroupBase, { keys, args }: ScriptQuestion): PlainReply {
  const [, ttlMs = 0, minIdleMs = 0, ...ids] = args
  const { values } = calls.server
  const out: (string | number)[] = []
  for (const [n, id] of ids.map(String).entries()) {
    const marker = keys[n + 2] as string
    const [, state, holder = ''] = MARKER.exec(String(values.run(['GET', marker]))) ?? []
    const waitMs = state && holder !== id ? waitMsFor(calls, holder, id, Number(minIdleMs)) : undefined
    if (state === MARKER_STATES.handled) out.push(HOLD_ANSWERS.handled, holder)
    else if (waitMs !== undefined) out.push(waitMs, holder)
    else {
      values.run(['SET', marker, MARKER_STATES.held + id, 'PX', ttlMs])
      out.push(HOLD_ANSWERS.held, id)
    }
  }
  return out
}

/** How long an entry waits for the one that holds its event; `undefined`: it takes over. */
function waitMsFor(calls: MemoryGroupBase, holder: string, id: string, minIdleMs: number): number | undefined {
  const row = calls.find()?.pending.get(holder)
  if (!row) return undefined
  if (compareEntryIds(id, holder) < 0 && (isAside(row) || calls.now - row.deliveredAt >= minIdleMs)) return undefined
  if (!isAside(row)) return HOLD_ANSWERS.running
  const score = calls.dueTimes.get(holder)
  if (score === undefined || score >= TAKEN_SCORE) return HOLD_WAIT_MS.forCondition
  return Math.max(0, Math.floor(score / COUNTS) - calls.now) + HOLD_WAIT_MS.afterDue
}

function isAside({ owner }: StoredPendingEntry): boolean {
  return owner === PARKED_CONSUMER || owner === AGING_CONSUMER
}
