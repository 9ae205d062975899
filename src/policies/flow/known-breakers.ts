import { hash } from 'node:crypto'
import type { OpenBreaker } from '../../core/gates.ts'
import { breakerPairs, failingTypes, parseBreakers } from '../../core/gates.ts'
import type { ConsumerKeys } from '../../core/keys.ts'
import type { PolicyCommand, PolicyReply } from '../../define/policy.ts'
import type { RunParts } from '../../run/parts.ts'
import type { CameBack } from '../../run/policy-engine.ts'
import { spelled } from '../spelled.ts'
import type { GateOperation } from './gate-request.ts'
import { knownTogether } from './known-together.ts'
import type { ServerTime } from './server-time.ts'
import { probePrefix } from './waiting-job.ts'

/** Characters of what entries wait for. */
const LONGEST_TEXT = 100

/** What entries of a type wait for while its circuit breaker is open. */
export function breakerText(eventType: string): string {
  if (eventType.length <= LONGEST_TEXT) return eventType
  return `${eventType.slice(0, LONGEST_TEXT / 2)}~${hash('sha1', eventType)}`
}

/** A little before the server's time, nothing is lost by asking. */
const ABOUT_MS = 20

/** What a run knows of circuit breakers. Its times are of the monotonic clock; only the server says who may start. */
export class KnownBreakers {
  /** Event types that have one. */
  readonly types = new Set<string>()
  /** Event types of which none is known to have succeeded since one failed, and when that was known here. */
  readonly #failing: Map<string, number>
  readonly #keys: ConsumerKeys
  readonly #prefix: string
  readonly #serverTime: ServerTime
  /** Up to when they are known to be open. */
  readonly #shutUntil: Map<string, number>
  /** When they were known to be closed. */
  readonly #closedAt: Map<string, number>
  /** As the server had them last. */
  #open: ReadonlyMap<string, OpenBreaker> | undefined
  #askedAt = 0

  constructor(parts: RunParts, serverTime: ServerTime) {
    const { keys, set } = parts.consumer
    this.#keys = keys
    this.#prefix = probePrefix(set)
    this.#shutUntil = knownTogether(parts, 'shutUntil')
    this.#closedAt = knownTogether(parts, 'closedAt')
    this.#failing = knownTogether(parts, 'failing')
    this.#serverTime = serverTime
  }

  failuresKey(type: string): string {
    return this.#keys.failures(spelled(type))
  }

  /** What says that an entry has succeeded. */
  success(eventType: string, entryId: string): GateOperation {
    return { op: 'worked', eventType, failuresKey: this.failuresKey(eventType), entryId }
  }

  get openTypes(): readonly string[] {
    return [...this.#shutUntil.keys()]
  }

  riders(now: number): readonly PolicyCommand[] {
    if (this.types.size === 0) return []
    this.#askedAt = now
    return [['hgetall', this.#keys.breakers]]
  }

  /** @throws {Error} The server refused. */
  answered(reply: PolicyReply | undefined): void {
    if (reply instanceof Error) throw reply
    const pairs = breakerPairs(reply)
    const failing = new Set(failingTypes(pairs))
    for (const type of this.#failing.keys()) if (!failing.has(type)) this.#failing.delete(type)
    for (const type of failing) if (!this.#failing.has(type)) this.#failing.set(type, this.#askedAt)
    this.#open = new Map(parseBreakers(pairs).map((one) => [one.eventType, one]))
    for (const type of this.types) {
      const open = this.#open.get(type)
      if (!open) this.closed(type, this.#askedAt)
      else if (this.#serverTime.at(0) !== undefined) this.opened(type, this.#serverTime.surelyAt(open.probeAt))
      else if (!this.#shutUntil.has(type)) this.opened(type, this.#askedAt)
    }
  }

  /** An entry has failed, and its circuit breaker is closed. */
  failed(type: string, at: number): void {
    this.#failing.set(type, at)
  }

  /** @param startedAt Of a call that succeeded. @returns Whether it is the first that is known to since one failed: one that began before says nothing. */
  isFirstSuccess(type: string, startedAt: number): boolean {
    return startedAt >= (this.#failing.get(type) ?? Infinity) && this.#failing.delete(type)
  }

  closed(type: string, at: number): void {
    this.#shutUntil.delete(type)
    this.#closedAt.set(type, at)
  }

  opened(type: string, until: number): void {
    this.#closedAt.delete(type)
    this.#shutUntil.set(type, until)
  }

  isShut(type: string, now: number): boolean {
    return (this.#shutUntil.get(type) ?? 0) > now
  }

  /** Whether it was known to be closed at that time or later. */
  wasClosed(type: string, at: number): boolean {
    return (this.#closedAt.get(type) ?? Number.NEGATIVE_INFINITY) >= at
  }

  /** Whether what waits for it comes back: all, if it is closed; the next one, once its probe is due. */
  comesBack(type: string, now: number): CameBack | boolean {
    const open = this.#open?.get(type)
    if (!this.#shutUntil.has(type)) return this.#closedAt.has(type)
    if (this.isShut(type, now)) return false
    const serverNow = (this.#serverTime.at(now) ?? Infinity) + ABOUT_MS
    if (open?.probeUntil !== undefined && open.probe !== undefined && open.probeUntil > serverNow) return false
    return { most: 1, after: this.#ownId(open?.lastProbe) }
  }

  /** `undefined`: it is of another stream of the set. */
  #ownId(probe: string | undefined): string | undefined {
    return probe?.startsWith(this.#prefix) ? probe.slice(this.#prefix.length) : undefined
  }

  /** When the next probe is due. */
  get probeAt(): number {
    return Math.min(Infinity, ...this.#shutUntil.values())
  }
}
