/** So many characters in a row of a key or a value are a quotation of it. */
const QUOTED = 4

/**
 * Which sentences have four characters in a row of a key or a value that is anywhere in the input: in whatever case, escaped as JSON, HTML or a
 * URL do it, and whatever stands between them. One pass over the input; where it cannot be read, all may.
 */
export function findQuotingSentences(sentences: readonly string[], input: unknown): boolean[] {
  const runs = new Runs(sentences)
  try {
    findIn(input, runs)
    return runs.found
  } catch {
    return sentences.map(() => true)
  }
}

function findIn(input: unknown, runs: Runs): void {
  const seen = new Set<object>()
  const left: unknown[] = [input]
  while (left.length > 0 && runs.isOpen) {
    const value = left.pop()
    if (value === undefined || typeof value === 'function') continue
    if (typeof value !== 'object' || value === null) runs.find(String(value))
    else if (!seen.has(value)) {
      seen.add(value)
      for (const [key, member] of entriesOf(value)) left.push(typeof key === 'number' ? undefined : key, member)
    }
  }
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
      for (const form of new Set(readings(sentence).flatMap(formsOf)))
        for (let at = 0; at + QUOTED <= form.length; at++) this.#add(form.slice(at, at + QUOTED), n)
  }

  /** Whether a sentence is left that quotes nothing so far. */
  get isOpen(): boolean {
    return this.#sentencesOf.size > 0 && this.found.includes(false)
  }

  /** Searches a text for the runs. */
  find(text: string): void {
    if (text.length < QUOTED) return
    for (const form of formsOf(text)) this.#scan(form)
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

/** A text as it is compared: as it is, without what tells cases and forms of the same letters apart, and only its letters and digits. */
function formsOf(text: string): string[] {
  if (/^[\x20-\x7e]*$/.test(text)) return [text.toUpperCase(), squeezed(text.toUpperCase())]
  const folded = text.normalize('NFKD').toUpperCase().normalize('NFKD')
  return [text, folded, squeezed(folded)]
}

/** A number may be shown with its thousands apart. */
function squeezed(text: string): string {
  return text.replace(/[^\p{L}\p{N}]+/gu, '')
}

const NAMED: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', b: '\b', f: '\f', v: '\v' }
const ENTITIES: Readonly<Record<string, string>> = { quot: '"', amp: '&', lt: '<', gt: '>', apos: "'" }

/** A sentence, and what it says where its quotations were escaped: as JSON, as JSON within JSON, in a URL, in HTML. */
function readings(sentence: string): string[] {
  const json = unslashed(sentence)
  const url = sentence.replace(/(?:%[\da-f]{2})+/gi, (bytes) =>
    Buffer.from(bytes.replaceAll('%', ''), 'hex').toString(),
  )
  const html = sentence.replace(
    /&(?:(quot|amp|lt|gt|apos)|#(\d{1,7})|#x([\da-f]{1,6}));/gi,
    (_all, name?: string, decimal?: string, hex?: string) =>
      name
        ? (ENTITIES[name.toLowerCase()] ?? '')
        : character(decimal ? Number(decimal) : Number.parseInt(hex ?? '', 16)),
  )
  return [sentence, json, unslashed(json), url, html]
}

function unslashed(text: string): string {
  return text.replace(
    /\\(?:u([\da-f]{4})|u\{([\da-f]{1,6})\}|x([\da-f]{2})|([\s\S]))/gi,
    (_all, four?: string, braced?: string, two?: string, other?: string) =>
      other === undefined ? character(Number.parseInt(four ?? braced ?? two ?? '', 16)) : (NAMED[other] ?? other),
  )
}

function character(code: number): string {
  return code <= 0x10ffff ? String.fromCodePoint(code) : ''
}

function entriesOf(value: object): Iterable<readonly [unknown, unknown]> {
  if (Buffer.isBuffer(value)) return [[undefined, value.toString()]]
  if (value instanceof Date) return [[undefined, Number.isNaN(value.getTime()) ? '' : value.toISOString()]]
  if (Array.isArray(value) || value instanceof Map) return value.entries()
  if (value instanceof Set) return [...value].map((member) => [undefined, member] as const)
  return [...Object.entries(value), ...ownText(value)]
}

/** What an object of a class says it is, such as a URL. */
function ownText(value: object): [undefined, string][] {
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype === null || prototype === Object.prototype) return []
  const text = String(value)
  return text.startsWith('[object ') ? [] : [[undefined, text]]
}
