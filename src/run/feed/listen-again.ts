import { isPassingFailure } from '../passing-failure.ts'
import type { Run } from '../run.ts'

/** How soon another run of the invocation listens, once the slot was lost, or the server was no primary any more; and once the group was paused. */
const AGAIN_MS = { lost: 250, paused: 2_000 }

/** When another run of the invocation has to listen, if more than the time ended this one. */
export function listenAgainInMs({ time, pauses, settler, parts }: Run): number | undefined {
  const { failures } = settler
  if (!time.isStopped || parts.signal?.aborted || !failures.every(isPassingFailure)) return undefined
  return pauses.isAll ? AGAIN_MS.paused : AGAIN_MS.lost
}
