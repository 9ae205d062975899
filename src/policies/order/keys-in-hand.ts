import { KeyInHand } from './key-in-hand.ts'

/** Keys that are kept though nothing of them is in hand. */
const MOST_IDLE = 1_000

/** The keys of which a run holds something. */
export class KeysInHand {
  /** With some that are over: keys come again, and a map that is always added to and deleted from keeps its outgrown tables alive, and whatever was in them. */
  readonly #all = new Map<string, KeyInHand>()
  #mostKept = MOST_IDLE
  readonly #undone = new Set<KeyInHand>()

  of(text: string): KeyInHand {
    const known = this.#all.get(text)
    if (known) return known
    if (this.#all.size >= this.#mostKept) this.#sweep()
    const key = new KeyInHand(text)
    this.#all.set(text, key)
    return key
  }

  /** Those that have something undone. */
  get undone(): Iterable<KeyInHand> {
    return this.#undone
  }

  get hasUndone(): boolean {
    return this.#undone.size > 0
  }

  leaveUndone(key: KeyInHand, id: string): void {
    key.leaveUndone(id)
    this.#undone.add(key)
  }

  /** It is stored, or here again. */
  forgetUndone(key: KeyInHand, id: string): void {
    key.forgetUndone(id)
    if (!key.hasUndone) this.#undone.delete(key)
  }

  #sweep(): void {
    for (const [text, { isOver }] of this.#all) if (isOver) this.#all.delete(text)
    this.#mostKept = this.#all.size + MOST_IDLE
  }
}
