/** So many characters in a row of a key or a value are a quotation of it. */
const QUOTED = 4

/**
 * Which sentences have four characters in a row of a key or a value that is anywhere in the input: in whatever case, as JSON writes them, and
 * whatever stands between them. One pass over the input.
 */
export function quoting(sentences: readonly string[], input: unknown): boolean[] {
  const runs = new Runs(sentences)
  const seen = new Set<object>()
  const left: unknown[] = [input]
  while (left.length > 0 && runs.isOpen) {
    const value = left.pop()
    if (typeof value !== 'object' || value === null) {
      if (typeof value !== 'function') runs.find(String(value))
    } else if (!seen.has(value)) {
      seen.add(value)
      for (const [key, member] of entriesOf(value)) {
        if (typeof key === 'string') runs.find(key)
        left.push(member)
      }
    }
  }
  return runs.found
}

/** The runs of four characters of some sentences. */
class Runs {
  /** By sentence, whether one of its runs was met. */
  readonly found: boolean[]
  readonly #sentencesOf = new Map<string, Set<number>>()
  /** Marks what may be a run, by its hash: most of an input is passed over without making strings of it. */
  readonly #marks = new Uint8Array(65_536)

  constructor(sentences: readonly string[]) {
    this.found = sentences.map(() => false)
    for (const [n, sentence] of sentences.entries())
      for (const form of [sentence.toLowerCase(), squeezed(sentence)])
        for (let at = 0; at + QUOTED <= form.length; at++) this.#add(form.slice(at, at + QUOTED), n)
  }

  /** Whether a sentence is left that quotes nothing so far. */
  get isOpen(): boolean {
    return this.#sentencesOf.size > 0 && this.found.includes(false)
  }

  /** Looks for the runs in a text. */
  find(text: string): void {
    if (text.length < QUOTED) return
    this.#scan(text.toLowerCase())
    this.#scan(squeezed(text))
    if (/["\\\p{Cc}]/u.test(text)) this.#scan(JSON.stringify(text).slice(1, -1).toLowerCase())
  }

  #add(run: string, sentence: number): void {
    this.#marks[hashAt(run, 0)] = 1
    const sentences = this.#sentencesOf.get(run)
    if (sentences) sentences.add(sentence)
    else this.#sentencesOf.set(run, new Set([sentence]))
  }

  #scan(text: string): void {
    for (let at = 0; at + QUOTED <= text.length; at++) {
      if (this.#marks[hashAt(text, at)] !== 1) continue
      for (const sentence of this.#sentencesOf.get(text.slice(at, at + QUOTED)) ?? []) this.found[sentence] = true
    }
  }
}

function hashAt(text: string, at: number): number {
  let hash = 0
  for (let n = at; n < at + QUOTED; n++) hash = (hash * 31 + text.charCodeAt(n)) & 0xffff
  return hash
}

/** Letters and digits alone: a number may be shown with its thousands apart. */
function squeezed(text: string): string {
  return text.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, '')
}

function entriesOf(value: object): Iterable<readonly [unknown, unknown]> {
  if (Buffer.isBuffer(value)) return [[undefined, value.toString()]]
  if (value instanceof Date) return [[undefined, Number.isNaN(value.getTime()) ? '' : value.toISOString()]]
  return Array.isArray(value) ? value.entries() : Object.entries(value)
}
