import type { Gauges } from './observer.ts'

/** What a line of progress says. */
export interface Progress {
  readonly phase: string
  readonly elapsedMs: number
  readonly published: number
  /** `undefined`: the server is away. */
  readonly gauges: Gauges | undefined
  readonly faults: number
  readonly invocations: number
}

const TTY_MS = 3_000
const PIPE_MS = 10_000

export const lineEveryMs = (stdout: NodeJS.WriteStream): number => (stdout.isTTY ? TTY_MS : PIPE_MS)

export function progressLine({ phase, elapsedMs, published, gauges, faults, invocations }: Progress): string {
  const time = `${(elapsedMs / 1_000).toFixed(0)} s`.padStart(6)
  const held = gauges
    ? `backlog ${gauges.backlog}, pending ${gauges.pending}, dead letters ${gauges.deadLetters}`
    : 'the server is away'
  return `${time}  ${phase}  published ${published}, ${held}, faults ${faults}, invocations ${invocations}`
}
