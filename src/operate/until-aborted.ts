import { setTimeout as sleep } from 'node:timers/promises'

/** What the promise resolves to, or `undefined` once the signal aborts: nobody waits for it any more then, nor hears of its failure. */
export async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  const stop = Promise.withResolvers<undefined>()
  const onAbort = () => stop.resolve(undefined)
  if (signal.aborted) onAbort()
  signal.addEventListener('abort', onAbort)
  promise.catch(() => {})
  try {
    return await Promise.race([stop.promise, promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/** Waits that long, or until the signal aborts. */
export async function sleepUnlessAborted(ms: number, signal: AbortSignal): Promise<void> {
  await untilAborted(sleep(ms, undefined, { signal, ref: true }), signal)
}
