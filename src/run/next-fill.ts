import type { Clock } from '../clock.ts'
import type { Run } from './run.ts'

/** When a pool looks again at what waits in it: after some time, or as soon as one of the runs is aborted. */
export class NextFill {
  #cancel: () => void = () => {}

  /** In place of what was planned before. @param waitMs Infinity: at no time. */
  plan(clock: Clock, waitMs: number, runs: readonly Run[], fill: () => void): void {
    this.cancel()
    if (waitMs === Infinity) return
    const cancelTimer = clock.after(Math.max(1, Math.ceil(waitMs)), fill)
    const cancelAborts = [...new Set(runs)].map(({ time }) => time.onAbort(fill))
    this.#cancel = () => {
      cancelTimer()
      for (const cancel of cancelAborts) cancel()
    }
  }

  cancel(): void {
    this.#cancel()
    this.#cancel = () => {}
  }
}
