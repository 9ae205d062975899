import { createInterface } from 'node:readline/promises'

/**
 * Asks, and waits for a word to be typed.
 *
 * @returns Whether it was; no, if the input ends or the signal comes before.
 */
export async function confirm(
  question: string,
  word: string,
  { input, output, signal }: { input: NodeJS.ReadableStream; output: NodeJS.WritableStream; signal: AbortSignal },
): Promise<boolean> {
  const lines = createInterface({ input, output })
  const closed = new Promise<undefined>((resolve) => lines.once('close', () => resolve(undefined)))
  try {
    const answer = await Promise.race([lines.question(question, { signal }).catch(() => undefined), closed])
    return answer?.trim() === word
  } finally {
    lines.close()
  }
}
