/** The time an invocation has, in milliseconds of one monotonic clock. */
export interface TimeBudget {
  /** When the invocation started. */
  readonly startedAt: number
  /** When the invocation is cut off. */
  readonly deadline: number
  /** When `maxRunMs` is over: nothing new is read or started after it. */
  readonly runUntil: number
  /** What the longest handler needs before the deadline: its own time, and what settling takes. */
  readonly neededMs: number
}

export interface TimeBudgetOptions {
  readonly now: number
  readonly remainingMs: number
  readonly maxRunMs: number
  readonly handlerTimeoutMs: number
  readonly reserveMs: number
}

export function createTimeBudget({
  now,
  remainingMs,
  maxRunMs,
  handlerTimeoutMs,
  reserveMs,
}: TimeBudgetOptions): TimeBudget {
  return {
    startedAt: now,
    deadline: now + remainingMs,
    runUntil: now + maxRunMs,
    neededMs: handlerTimeoutMs + reserveMs,
  }
}

/** Whether a handler that starts now can be settled in time. @param neededMs Its own time, and what settling takes. Default: that of the longest. */
export function mayStartHandler(budget: TimeBudget, now: number, neededMs = budget.neededMs): boolean {
  return now < budget.runUntil && budget.deadline - now >= neededMs
}

/** How many handlers can still run one after the other if each takes all its time. */
export function handlerRoundsLeft(budget: TimeBudget, now: number, handlerTimeoutMs: number): number {
  if (!mayStartHandler(budget, now)) return 0
  return 1 + Math.floor((Math.min(budget.deadline - budget.neededMs, budget.runUntil) - now) / handlerTimeoutMs)
}
