import { isDeepStrictEqual } from 'node:util'
import type { Outcome } from '../../core/outcome.ts'
import type { Delivery, HeldEntry } from '../../group/delivery.ts'
import type { Settlement } from '../../group/group.ts'
import { TRY_MIN_IDLE_MS, type TryCheckKeys } from './try-check-keys.ts'

/** One thing that a server must do. */
export interface TryCheck {
  readonly name: string
  /** @throws {Error} The server does otherwise. */
  run(area: TryCheckKeys): Promise<void>
}

export function claimPage() {
  return { minIdleMs: TRY_MIN_IDLE_MS, cursor: undefined, room: 100 }
}

export function settlementsOf(held: readonly HeldEntry[], outcome: Outcome): Settlement[] {
  return held.map(({ id, deliveryCount }) => ({ id, deliveryCount, outcome }))
}

export async function settleAll(
  area: TryCheckKeys,
  slot: Parameters<TryCheckKeys['read']>[0],
  entries: readonly Delivery[],
  outcome: Outcome,
) {
  const { failures, refusals } = await area.group.settle(slot, settlementsOf(entries, outcome))
  const [failure] = [...failures, ...refusals]
  if (failure) throw failure
}

export function assertSame(got: unknown, expected: unknown): void {
  if (isDeepStrictEqual(got, expected)) return
  throw new Error(`expected ${JSON.stringify(expected)?.slice(0, 200)}, got ${JSON.stringify(got)?.slice(0, 200)}`)
}
