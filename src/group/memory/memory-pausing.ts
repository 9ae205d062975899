import { compareEntryIds } from '../../core/entry.ts'
import { isInEffect, type Pause, parsePauses, pausedType, WHOLE_GROUP } from '../../core/pauses.ts'
import type {
  PauseAnswer,
  PausedBacklog,
  PauseRequest,
  Pausing,
  PausingAddress,
  ResumeAnswer,
  ResumeRequest,
} from '../pausing.ts'
import { dueScore } from './memory-group-base.ts'
import type { MemoryServer } from './memory-server.ts'

/** Pauses groups in memory, as the scripts of the same names do on a server. */
export class MemoryPausing implements Pausing {
  readonly #server: MemoryServer

  constructor(server: MemoryServer) {
    this.#server = server
  }

  async pause(address: PausingAddress, request: PauseRequest): Promise<PauseAnswer> {
    const { type = WHOLE_GROUP, until } = request
    const now = this.#now
    if (!this.#isKnown(address)) return { is: 'unknown' }
    if (until !== undefined && until <= now) return { is: 'past', now }
    const all = this.#inEffect(address)
    const before = all.get(type)
    const pause = pauseAfter(before, request, now)
    this.#store(address, all.set(type, pause))
    return { is: 'paused', pause, ...(before && { before }) }
  }

  async resume(address: PausingAddress, { type, maxAgeMs }: ResumeRequest): Promise<ResumeAnswer> {
    const all = this.#inEffect(address)
    const what = type ?? WHOLE_GROUP
    const was = all.get(what)
    if (!was) return { is: this.#isKnown(address) ? 'not-paused' : 'unknown' }
    all.delete(what)
    this.#store(address, all)
    return { is: 'resumed', was, ...this.#waiting(address, type, maxAgeMs) }
  }

  #waiting({ group, keys }: PausingAddress, type: string | undefined, maxAgeMs: number | undefined): PausedBacklog {
    const aged = (ids: readonly string[]) => {
      const oldest = `${Math.max(0, this.#now - (maxAgeMs ?? 0))}-0`
      return maxAgeMs === undefined ? {} : { expiring: ids.filter((id) => compareEntryIds(id, oldest) < 0).length }
    }
    if (type !== undefined) {
      const ids = [...(this.#server.waits(keys.waiting).get(pausedType(type))?.keys() ?? [])]
      return { waiting: ids.length, ...aged(ids) }
    }
    const due = [...this.#server.due(keys.due)]
      .filter(([, score]) => score <= dueScore(this.#now, Infinity))
      .map(([id]) => id)
    const stream = this.#server.streams.get(keys.stream)
    const { lastDeliveredId } = stream?.groups.get(group) ?? {}
    const unread =
      lastDeliveredId === undefined ? [] : (stream?.after(lastDeliveredId, Infinity) ?? []).map(({ id }) => id)
    return {
      waiting: due.length,
      ...(lastDeliveredId !== undefined && { unread: unread.length }),
      ...aged([...due, ...unread]),
    }
  }

  /** A group that was lost left its state behind. */
  #isKnown({ group, keys }: PausingAddress): boolean {
    return (
      this.#server.streams.get(keys.stream)?.groups.has(group) === true ||
      this.#server.states.get(keys.state)?.mark !== undefined
    )
  }

  #inEffect({ keys }: PausingAddress): Map<string, Pause> {
    const all = parsePauses(this.#server.pauses.get(keys.paused) ?? '')
    return new Map([...all].filter(([, pause]) => isInEffect(pause, this.#now)))
  }

  #store({ keys }: PausingAddress, all: ReadonlyMap<string, Pause>): void {
    if (all.size === 0) this.#server.pauses.delete(keys.paused)
    else this.#server.pauses.set(keys.paused, JSON.stringify(Object.fromEntries(all)))
  }

  get #now(): number {
    return Math.floor(this.#server.clock.now())
  }
}

/** What a request leaves out stays as it was. */
function pauseAfter(before: Pause | undefined, { until, why, by, defaultBy }: PauseRequest, now: number): Pause {
  const who = by ?? before?.by ?? (before ? undefined : defaultBy)
  return {
    at: now,
    ...before,
    ...(until !== undefined && { until }),
    ...(why !== undefined && { why }),
    ...(who !== undefined && { by: who }),
  }
}
