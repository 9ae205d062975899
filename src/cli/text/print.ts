import { once } from 'node:events'

/** Prints a line. Waits for a slow reader, rather than keep in memory what was not read yet; the signal ends that. */
export async function printLine(line: string, signal: AbortSignal): Promise<void> {
  if (process.stdout.write(`${line}\n`) || signal.aborted) return
  await once(process.stdout, 'drain', { signal }).catch(() => {})
}
