/** A number as its JSON had it. */
class NumberSource {
  readonly source: string

  constructor(source: string) {
    this.source = source
  }
}

// TypeScript does not know these of JSON yet; Node.js 22 has them
interface JsonWithSources {
  parse(text: string, reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown): unknown
  rawJSON(text: string): unknown
}
const json = JSON as unknown as JsonWithSources

/** Reads JSON, numbers as a `NumberSource` where JavaScript would write them otherwise; `undefined` for what is no JSON. */
export function parseJsonKeepingNumbers(text: string): unknown {
  try {
    return json.parse(text, (_key, value, { source }) =>
      typeof value === 'number' && source !== undefined && String(value) !== source ? new NumberSource(source) : value,
    )
  } catch {
    return undefined
  }
}

/** Digits that JavaScript may round. */
const LONG = /\d{16}/
const LONG_INTEGER = /^-?\d{16,}$/

/**
 * Reads JSON, integers as raw JSON where JavaScript would round them: for JSON.stringify, and for nothing else.
 *
 * @throws {SyntaxError} It is no JSON.
 */
export function parseJsonKeepingLongIntegers(text: string): unknown {
  if (!LONG.test(text)) return JSON.parse(text)
  return json.parse(text, (_key, value, { source = '' }) =>
    typeof value === 'number' && LONG_INTEGER.test(source) && String(value) !== source ? json.rawJSON(source) : value,
  )
}

/** The number for JSON.stringify, as its source has it if that is the same number. */
export function rawJsonNumber(value: number, source: unknown): unknown {
  const isSame = source instanceof NumberSource && Object.is(Number(source.source), value)
  return isSame ? json.rawJSON(source.source) : value
}
