import type { Consumer } from '../define/consumer.ts'
import type { Group, Slot } from '../group/group.ts'
import type { RunPauses } from './run-pauses.ts'
import type { RunReport } from './run-report.ts'
import type { Settler } from './settler.ts'
import type { RunTime } from './time.ts'

/** What a renewal renews, and for whom. */
interface RenewalParts {
  readonly consumer: Consumer
  readonly group: Group
  readonly slot: Slot
  readonly time: RunTime
  readonly report: RunReport
  readonly settler: Settler
  readonly pauses: RunPauses
}

/** Renewals come no faster than this, however small `minIdleMs` is. */
const MIN_PERIOD_MS = 10

/**
 * Sets the idle clocks of what a run holds back to 0, every third of `minIdleMs`: three chances before a claimer may take it. A renewal that
 * fails is made good by the next, or the entry is claimed. A run that only runs handlers learns by it what somebody has paused.
 */
export class IdleRenewal {
  readonly #parts: RenewalParts
  #renewing: Promise<void> | undefined
  #cancel: () => void = () => {}

  constructor(parts: RenewalParts) {
    this.#parts = parts
    this.#schedule()
  }

  /** When it resolves no timer and no command of it is left. */
  async end(): Promise<void> {
    this.#cancel()
    await this.#renewing
  }

  #schedule(): void {
    const { time, consumer } = this.#parts
    this.#cancel = time.clock.after(Math.max(MIN_PERIOD_MS, consumer.settings.minIdleMs / 3), () => {
      this.#renewing ??= this.#renew().finally(() => {
        this.#renewing = undefined
      })
      this.#schedule()
    })
  }

  async #renew(): Promise<void> {
    const { group, slot, settler, report, time, pauses } = this.#parts
    const { held } = settler
    if (held.length === 0) return
    const renewed = await group.renew(slot, held).catch(() => undefined)
    report.lost(renewed?.lost ?? 0)
    if (renewed?.leaseLost) time.stop()
    else if (renewed) pauses.see(renewed.paused)
  }
}
