import { roundsLeft as roundsWithin } from '../core/budget.ts'
import type { Run } from './run.ts'

/** How many handlers can still run one after the other, each taking all its time. */
export function roundsLeft(run: Run): number {
  const { budget, clock, consumer } = run.parts
  return run.mayStart() ? roundsWithin(budget, clock.monotonic(), consumer.settings.handlerTimeoutMs) : 0
}
