import type { Consumer } from 'millrace'

/** What somebody does to dead letters from outside, and what stands of them. */
export interface OrderLetters {
  /** Ids of entries whose dead letter is there. */
  buried(): Promise<readonly string[]>
  /** All letters are dropped, or deleted by hand. */
  dropLetters(consumer: Consumer, byHand: boolean): Promise<void>
}

interface KnownEntry {
  readonly id: string
  readonly key: string
  /** It may have a letter that nobody waits for: it came again by itself. */
  readonly mayRepeat: boolean
}

/** Says which letters of its key an entry went past that its key should have waited for. */
export async function wentPast(
  server: OrderLetters,
  { id, key }: KnownEntry,
  entries: Iterable<KnownEntry>,
  isBelow: (a: string, b: string) => boolean,
): Promise<readonly string[]> {
  const before = [...entries].filter((other) => other.key === key && isBelow(other.id, id) && !other.mayRepeat)
  if (before.length === 0) return []
  const buried = new Set(await server.buried())
  return before.filter((other) => buried.has(other.id)).map((other) => other.id)
}
