import type { Call, Hindrance, Process } from './evidence.ts'
import { SETTINGS } from './settings.ts'
import type { Interval } from './time.ts'
import { coveredMs, merged, overlap } from './time.ts'

/** Why an outcome was not on the server, though its handler had run or was running: what allows another delivery. */
export type Excuse =
  | 'its process died'
  | Hindrance['why']
  | 'its connection was cut'
  | 'its outcome could not be written'
  | 'its handler overran'

const { handlerTimeoutMs, minIdleMs } = SETTINGS
/** How often what a process holds is renewed: a fault costs the renewals of its time, and up to one before and one after it. */
const RENEWAL_MS = minIdleMs / 3
/** Timers are late, and two clocks differ. */
const LATE_MS = 150
/** Our note of a start comes after the package's. */
const NOTE_MS = 20
/** Between a delivery on the server and its handler's start. */
const REPLY_MS = 500
/** A connection that was cut shows it a little later. */
const CUT_MS = 200

/**
 * Why the outcome of a call was not on the server at that moment, by what was recorded of its process; `undefined`: nothing explains it.
 *
 * @param next The call that started at that moment, if it needs an explanation.
 */
export function excuseOf(call: Call, at: number, next?: Call): Excuse | undefined {
  const { process, invocation } = call
  // a delivery that starts after a later one was given to a process that could not start it
  if (next && next.deliveryCount < call.deliveryCount && isHeldUp(next.process, at)) return heldUpBy(next.process, at)
  if (isSettled(call, at) && !(next && isHeldUp(next.process, at))) return undefined
  if (invocation.endedAt === undefined && process.diedAt <= at) return 'its process died'
  return hindranceAt(process, { from: call.startedAt - minIdleMs, to: at }) ?? unwritten(call, at) ?? overrun(call, at)
}

/** Whether a success was acked well before: its invocation said afterwards that it left nothing unsettled. */
function isSettled(call: Call, at: number): boolean {
  const { ending, invocation } = call
  const { endedAt = Number.POSITIVE_INFINITY, failure, report } = invocation
  if (ending !== 'succeeded' || overrun(call, at)) return false
  return endedAt + REPLY_MS < at && failure === undefined && report?.unsettled === 0
}

/** Whether a process may have been given an entry well before that moment, at which it came to call its handler. */
export function isHeldUp({ hindrances }: Process, at: number): boolean {
  return coveredMs(hindrances, { from: at - minIdleMs, to: at }) > REPLY_MS
}

function heldUpBy({ hindrances }: Process, at: number): Excuse | undefined {
  const span = { from: at - minIdleMs, to: at }
  return hindrances.toSorted((a, b) => coveredMs([b], span) - coveredMs([a], span))[0]?.why
}

/** What kept a process from renewing its entries for so long that others could claim them. */
function hindranceAt({ hindrances, cuts }: Process, span: Interval): Excuse | undefined {
  const cut = cuts.map((at) => ({ from: at, to: at, why: 'its connection was cut' as const }))
  const faults = [...hindrances, ...cut].filter((one) => overlap(one, span))
  const gaps = merged(faults.map(({ from, to }) => ({ from: from - RENEWAL_MS, to: to + RENEWAL_MS })))
  const gap = gaps.find((one) => coveredMs([one], span) >= minIdleMs - LATE_MS)
  if (!gap) return undefined
  const causes = faults.filter((one) => overlap(one, gap)).map(({ from, to, why }) => ({ why, ms: to - from }))
  return causes.reduce((a, b) => (b.ms > a.ms ? b : a)).why
}

/** Whether something was done to a process or its connection in that time. */
export function isDisturbed({ hindrances, cuts }: Process, { from, to }: Interval): boolean {
  const span = { from: from - CUT_MS, to }
  return coveredMs(hindrances, span) > 0 || cuts.some((cut) => cut >= span.from && cut <= to)
}

/** The invocation itself says that it could not settle all, or never came to say so, and its connection was cut. */
function unwritten({ process, invocation }: Call, at: number): Excuse | undefined {
  const { endedAt, failure, report } = invocation
  const isUnsettled = endedAt === undefined || failure !== undefined || (report?.unsettled ?? 0) > 0
  const span = { from: invocation.startedAt, to: Math.min(at, endedAt ?? at) }
  return isUnsettled && isDisturbed(process, span) ? 'its outcome could not be written' : undefined
}

function overrun({ startedAt, endedAt = Number.POSITIVE_INFINITY }: Call, at: number): Excuse | undefined {
  return Math.min(endedAt, at) - startedAt >= handlerTimeoutMs - NOTE_MS ? 'its handler overran' : undefined
}
