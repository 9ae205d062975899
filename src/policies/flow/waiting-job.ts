import type { Consumer } from '../../define/consumer.ts'
import type { PolicyJob } from '../../define/policy.ts'
import type { Route } from '../../define/route.ts'
import type { CheckedPolicyDecision } from '../../run/checked-policy-decision.ts'
import type { Job } from '../../run/job.ts'
import type { PolicyRunInside } from '../../run/policy-engine.ts'
import type { FlowRule } from './flow-rules.ts'
import type { GateAnswer, GateOperation, PlaceNeed, TurnNeed } from './gate-request.ts'
import type { ServerTime } from './server-time.ts'
import type { TurnsAhead } from './turns-ahead.ts'

/** What of a window of a rate limit is kept free, so that late starts and early turns never make one too many in it. */
const SPARE = { late: 0.02, early: 0.01 }

/** The least, and the most, that a turn lasts. */
const LATE_MS = { least: 2, most: 500 }

/** Without a turn, what has passed starts within that time. */
const PASS_MS = 5_000

/** Characters of a token: enough that no holder of a slot passes for the next. */
const TOKEN = 8

/** A job, and what it needs before it starts. */
export class WaitingJob {
  readonly job: PolicyJob
  /** Its event type, if that has a circuit breaker. */
  readonly breakerType: string
  readonly places: readonly PlaceNeed[]
  turns: readonly TurnNeed[]
  /** Who holds its places. */
  readonly holder: string
  /** Its entry, as its circuit breaker knows it: streams of a set may have entries with the same id. */
  readonly probeId: string
  phase: 'new' | 'asked' | 'waits' | 'passed' | 'runs' | 'leaves' | 'ended' = 'new'
  /** When it may start, or asks again, on the monotonic clock; and up to when it may start. */
  from = 0
  until = 0
  startedAt = 0
  isProbe = false
  hasPlaces = false
  /** Its failure as a probe was reported already. */
  hasReported = false
  /** It stands in line, or stood there before it came back. */
  #isKnown: boolean
  #since: number | undefined
  /** Until when turns last that it was given, by their keys. */
  readonly #lasts = new Map<string, number>()

  private constructor(
    job: PolicyJob,
    given: Pick<WaitingJob, 'breakerType' | 'places' | 'turns' | 'holder' | 'probeId'>,
  ) {
    this.job = job
    this.breakerType = given.breakerType
    this.places = given.places
    this.turns = given.turns
    this.holder = given.holder
    this.probeId = given.probeId
    this.#isKnown = (job as Job).isTaken === true
  }

  /** Gives those that have passed the turns that are not over, in the order in which they wait; the last of them ask again. */
  static shareTurns(passed: readonly WaitingJob[], now: number): void {
    const turns = passed
      .map(({ from, until }) => ({ from, until }))
      .filter(({ until }) => until >= now)
      .sort((a, b) => a.from - b.from)
    for (const [n, one] of passed.toSorted((a, b) => WaitingJob.inOrder(a, b)).entries()) {
      const turn = turns[n]
      if (turn) Object.assign(one, turn)
      else one.phase = 'new'
    }
  }

  get route(): Route | undefined {
    return (this.job as Job).route
  }

  /** @returns `undefined` if nothing holds it. */
  static of(
    job: PolicyJob,
    rules: readonly FlowRule[],
    { parts }: PolicyRunInside,
    ahead: TurnsAhead,
    serverTime: ServerTime,
  ): WaitingJob | undefined {
    const { keys, set } = parts.consumer
    const { consumerName, token } = parts.slot
    let breakerType = ''
    const places: PlaceNeed[] = []
    const turns: TurnNeed[] = []
    for (const rule of rules) {
      if (rule.eventType !== undefined && rule.eventType !== job.event?.type) continue
      if (rule.kind === 'breaker') breakerType = job.event?.type ?? ''
      else {
        const name = rule.nameOf(job)
        if (name === undefined) continue
        if (rule.kind === 'place') places.push({ key: keys.places(name), max: rule.max })
        else turns.push({ key: keys.rate(name), max: rule.max, ...windowOf(rule.perMs, ahead.lateFactor, serverTime) })
      }
    }
    if (breakerType === '' && places.length + turns.length === 0) return undefined
    const holder = `${consumerName}:${token.slice(0, TOKEN)}:${job.entryId}`
    const probeId = `${probePrefix(set)}${job.entryId}`
    return new WaitingJob(job, { breakerType, places, turns, holder, probeId })
  }

  /** In the order of their arrival. */
  static inOrder({ job: a }: WaitingJob, { job: b }: WaitingJob): number {
    const [[aMs = 0, aSeq = 0], [bMs = 0, bSeq = 0]] = [a, b].map(({ entryId }) => entryId.split('-').map(Number)) as [
      number[],
      number[],
    ]
    return aMs - bMs || aSeq - bSeq
  }

  get needsBreakerOnly(): boolean {
    return this.places.length + this.turns.length === 0
  }

  /** Whether the turns of one are as good for the other. */
  sharesTurnsWith(other: WaitingJob): boolean {
    const isEqual = this.turns.length === 1 && other.turns.length === 1 && this.turns[0]?.key === other.turns[0]?.key
    return isEqual && this.places.length + other.places.length === 0
  }

  /** What it asks for, with turns that last as long as they have to by now: of several, those that it has are not taken twice. */
  ask(ahead: TurnsAhead, serverTime: ServerTime, now: number): GateOperation {
    this.turns = this.turns.map((turn) => ({ ...turn, ...windowOf(turn.perMs, ahead.lateFactor, serverTime) }))
    for (const [key, until] of this.#lasts) if (until <= now) this.#lasts.delete(key)
    const turns = this.turns.filter(({ key }) => !this.#lasts.has(key))
    const { probeId: entryId, holder, breakerType: eventType, places } = this
    return { op: 'pass', entryId, holder, isKnown: this.#isKnown, eventType, places, turns }
  }

  pass({ kind, at }: GateAnswer, now: number, serverTime: ServerTime): void {
    this.phase = 'passed'
    this.isProbe = kind === 'probe'
    // where it comes too late for its turn, it need not stand behind others
    this.#isKnown = true
    this.hasPlaces = this.places.length > 0
    this.from = Math.max(now, serverTime.surelyAt(at))
    for (const { key, lateMs } of this.turns)
      if (!this.#lasts.has(key)) this.#lasts.set(key, serverTime.surelyUntil(at + lateMs))
    this.until = this.turns.length > 0 ? Math.min(...this.#lasts.values()) : now + PASS_MS
    // one turn may be another's by then
    if (this.turns.length === 1) this.#lasts.clear()
  }

  /** What is refused holds nothing. */
  refused(answer: GateAnswer | undefined): void {
    if (answer) this.isProbe = this.hasPlaces = false
  }

  /** Milliseconds since it was asked about first. */
  hasWaitedMs(now: number): number {
    this.#since ??= now
    return now - this.#since
  }

  wait(until: number): void {
    this.phase = 'waits'
    this.from = until
    this.#isKnown = true
  }

  /** A place became free. */
  placeLeft(places: readonly PlaceNeed[]): void {
    if (this.phase === 'waits' && this.places.some(({ key }) => places.some((place) => place.key === key)))
      this.from = 0
  }

  parkDecision(kind: GateAnswer['kind'], delayMs: number): CheckedPolicyDecision {
    return { action: 'park', delayMs, policy: kind === 'turn' ? 'rateLimit' : 'concurrencyLimit' }
  }
}

/** What stands before the ids of a stream's entries where the circuit breaker is of its set. */
export function probePrefix(set: Consumer['set']): string {
  return set ? `${set.priority}:` : ''
}

function windowOf(perMs: number, factor: number, { uncertaintyMs }: ServerTime): Omit<TurnNeed, 'key' | 'max'> {
  const least = Math.max(LATE_MS.least, Math.min(LATE_MS.most, SPARE.late * perMs))
  // a turn must be wider than what is not known of the server's clock
  const known = uncertaintyMs === Infinity ? 0 : uncertaintyMs + LATE_MS.least
  const lateMs = Math.min(perMs, Math.max(least, known) * factor)
  return { perMs, lateMs, slackMs: Math.min(LATE_MS.most, SPARE.early * perMs) }
}
