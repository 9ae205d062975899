import type { Wake } from './publisher-options.ts'

/** The event is in the stream by now, so that nothing that goes wrong here is the caller's trouble. */
export async function wakeIfRaised(wake: Wake, raised: boolean | Error | undefined): Promise<void> {
  try {
    if (raised instanceof Error) throw raised
    if (raised) await wake.wake()
  } catch (error) {
    try {
      wake.onError(error as Error)
    } catch {} // nor is this
  }
}
