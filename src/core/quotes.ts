/** So many characters in a row of a key or a value are a quotation of it. */
const QUOTED = 4

/** Whether a sentence has four characters in a row of a key or a value that is anywhere in the input, in whatever case. */
export function quotes(sentence: string, input: unknown): boolean {
  const runs = runsOf(sentence)
  if (runs.size === 0) return false
  const seen = new Set<object>()
  const left: unknown[] = [input]
  while (left.length > 0) {
    const value = left.pop()
    if (typeof value !== 'object' || value === null) {
      if (typeof value !== 'function' && holdsAny(String(value), runs)) return true
    } else if (!seen.has(value)) {
      seen.add(value)
      for (const [key, member] of entriesOf(value)) {
        if (typeof key === 'string' && holdsAny(key, runs)) return true
        left.push(member)
      }
    }
  }
  return false
}

function runsOf(sentence: string): Set<string> {
  const text = sentence.toLowerCase()
  const runs = new Set<string>()
  for (let at = 0; at + QUOTED <= text.length; at++) runs.add(text.slice(at, at + QUOTED))
  return runs
}

function holdsAny(text: string, runs: ReadonlySet<string>): boolean {
  // libraries may quote a value as JSON, where some characters are written otherwise
  return [text, JSON.stringify(text).slice(1, -1)].some((form) => {
    const lower = form.toLowerCase()
    for (let at = 0; at + QUOTED <= lower.length; at++) if (runs.has(lower.slice(at, at + QUOTED))) return true
    return false
  })
}

function entriesOf(value: object): Iterable<readonly [unknown, unknown]> {
  if (Buffer.isBuffer(value)) return [[undefined, value.toString()]]
  if (value instanceof Date) return [[undefined, Number.isNaN(value.getTime()) ? '' : value.toISOString()]]
  return Array.isArray(value) ? value.entries() : Object.entries(value)
}
