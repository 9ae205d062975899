import type { GroupMeasurement, Slot } from './group.ts'
import type { Ordering } from './ordering.ts'

/** How long somebody waits for a slot beyond the end of the lease that was seen: the look that finds it free may come a second later. */
const GRACE_MS = 2_000

/** A group whose pollers may wait for a slot. */
export interface AwaitableSlots {
  /** The last that asked for a slot found none free, and looks again each second. */
  readonly looksAgain?: boolean
}

/** What is asked of a slot that is taken. */
interface SeenLease {
  /** Milliseconds until the lease ends. */
  readonly heldMs: number
  /** What the group has before it; `undefined` where that is not known. */
  readonly measured: GroupMeasurement | undefined
}

/** Whether a poller that found the one slot of a stream taken waits for it: that is asked once, and looks that follow ask nothing. */
export class SlotWait {
  isWorthIt = false
  readonly #waitsFor: Ordering['waitsFor']
  /** It goes on for as long as a lease is wanted for so many milliseconds at least. */
  #toMs: number | undefined

  constructor({ waitsFor }: Ordering) {
    this.#waitsFor = waitsFor
  }

  /** Takes note of what became of a look. @param wantedMs Milliseconds for which a lease was wanted. */
  async looked(slot: Slot | undefined, wantedMs: number, ask: () => Promise<SeenLease>): Promise<void> {
    if (slot) this.#toMs = undefined
    else this.#toMs ??= await this.#until(wantedMs, ask)
    this.isWorthIt = this.#toMs !== undefined && wantedMs >= this.#toMs
  }

  async #until(wantedMs: number, ask: () => Promise<SeenLease>): Promise<number> {
    if (!this.#waitsFor) return Infinity
    const { heldMs, measured } = await ask()
    return hasWork(measured) && this.#waitsFor({ heldMs, wantedMs }) ? wantedMs - heldMs - GRACE_MS : Infinity
  }
}

/** Whether there may be anything that a poller would do: new entries, or some that are pending and not set aside. */
function hasWork(measured: GroupMeasurement | undefined): boolean {
  if (!measured) return true
  const { lag = 1, pending, parked } = measured.backlog
  return lag > 0 || pending > parked
}
