import type { Equation } from './equation.ts'

/** What a demo of a system runs on. */
export interface DemoStage {
  /** The Redis of its own; `REDIS_URL` of the environment says the same. */
  readonly url: string
  /** How long to publish. */
  readonly seconds: number
  readonly seed: number
  /** Aborted by Ctrl-C: the demo rejects then, when nothing that it started runs any more. */
  readonly signal: AbortSignal
  /** Shows these lines in the place of those before. */
  readonly show: (lines: readonly string[]) => void
}

/** How a system is shown; a file `demo/NAME.ts` exports one as `demo`, and `systems.ts` lists it. */
export interface SystemDemo {
  /**
   * Publishes, wakes the system's functions until everything is worked through, and closes what it opened. Modules of the system are loaded in here:
   * they read the environment.
   *
   * @returns What must be even in the end.
   */
  run(stage: DemoStage): Promise<readonly Equation[]>
}
