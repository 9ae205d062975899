import { checkPatterns, MOST_PATTERNS } from '../core/filter-patterns.ts'
import { boolean, cannot, integerFrom, object, oneOf, refuseUnknownKeys, text } from '../core/options.ts'
import type { NumberRow } from '../core/rows.ts'
import { quoted } from '../errors.ts'

/** A JSON schema, as Ajv takes it in strict mode. */
export type Schema = Readonly<Record<string, unknown>>

/** An option's rule, once for who reads YAML by a schema and once for who calls a function. */
export interface Row {
  readonly schema: Schema
  /** @throws {TypeError | RangeError} The message says the action, the rule and the value seen. */
  check(action: string, name: string, value: unknown): void
}

/** The only key of a reference. */
const REFERENCE = /^(Ref|Fn::\w+)$/

type Rows = Readonly<Record<string, Row>>

/** Text that is not empty. */
export const anyText: Row = { schema: { type: 'string', minLength: 1 }, check: text }

export const flag: Row = { schema: { type: 'boolean' }, check: boolean }

export function whole(min: number, max: number): Row {
  return {
    schema: { type: 'integer', minimum: min, maximum: max },
    check: (action, name, value) => integerFrom(action, name, value, min, max),
  }
}

/** The rule of a setting of the code's; a deployment gives it as a whole number. */
export function within({ min, max }: NumberRow): Row {
  return whole(min, max)
}

export function wordOf(words: readonly string[]): Row {
  return {
    schema: { type: 'string', enum: words },
    check: (action, name, value) => oneOf(action, name, value, words),
  }
}

export function numberOf(numbers: readonly number[]): Row {
  return {
    schema: { type: 'integer', enum: numbers },
    check(action, name, value) {
      if (!numbers.includes(value as number))
        throw cannot(action, `${name} must be one of ${numbers.join(', ')}, got ${value}`, RangeError)
    },
  }
}

/** Text of a form, which the message names: `schedule must be rate(…) or cron(…), got "1 minute"`. */
export function textLike(pattern: RegExp, form: string): Row {
  return {
    schema: { type: 'string', pattern: pattern.source },
    check(action, name, value) {
      text(action, name, value)
      if (!pattern.test(value as string)) throw cannot(action, `${name} must be ${form}, got ${quoted(value)}`)
    },
  }
}

/** A row, or a reference of CloudFormation's that stands for it; `example` is one that messages show. */
export function orReference(row: Row, example = '{ Ref: … }'): Row {
  const reference = {
    type: 'object',
    minProperties: 1,
    maxProperties: 1,
    patternProperties: { [REFERENCE.source]: {} },
    additionalProperties: false,
  }
  return {
    schema: { anyOf: [row.schema, reference] },
    check(action, name, value) {
      if (typeof value !== 'object' || value === null) return row.check(action, name, value)
      const [key = '', ...others] = Object.keys(value)
      if (others.length > 0 || !REFERENCE.test(key))
        throw cannot(action, `${name} must be text or a reference, as in ${example}`)
    },
  }
}

/** An ARN, or a reference that stands for it, as `example` does. */
export function arnLike(example: string): Row {
  // a token of the CDK's is text, too, and becomes an ARN later
  const row = textLike(/^(arn:|\$\{Token\[)/, `an ARN or a reference, as in ${example}`)
  return orReference({ ...row, schema: { type: 'string', pattern: '^arn:' } }, example)
}

/** A list, or its only item as it is. */
export function listOf(row: Row): Row {
  return {
    schema: { anyOf: [row.schema, { type: 'array', items: row.schema, uniqueItems: true }] },
    check(action, name, value) {
      if (!Array.isArray(value)) return row.check(action, name, value)
      for (const [index, item] of value.entries()) row.check(action, `${name}[${index}]`, item)
    },
  }
}

/** An object of a language of its own, which is not looked into. */
export const anyObject: Row = { schema: { type: 'object' }, check: object }

/** Characters of patterns that a function's environment has room for, beside all else: AWS takes 4 KB. */
const MOST_CHARACTERS = 2_048

/** Patterns of AWS's event filtering, which reach the code through the functions' environment. */
export const patternRow: Row = {
  schema: { type: 'array', minItems: 1, maxItems: MOST_PATTERNS, items: { type: 'object' } },
  check(action, name, value) {
    const { length } = JSON.stringify(checkPatterns(action, name, value))
    if (length <= MOST_CHARACTERS) return
    throw cannot(
      action,
      `${name} must have ${MOST_CHARACTERS} characters or fewer as JSON, since AWS takes 4 KB of environment, got ${length}; give longer ones to ` +
        'filterPatterns() in the code',
      RangeError,
    )
  },
}

/** A row, or `false`, which switches it off. */
export function orFalse(row: Row): Row {
  return {
    schema: { anyOf: [{ type: 'boolean', enum: [false] }, row.schema] },
    check(action, name, value) {
      if (value !== false) row.check(action, name, value)
    },
  }
}

/** Options of their own: those in `required` must be given, others than the rows' are refused. */
export function options(rows: Rows, required: readonly string[] = []): Row {
  return {
    schema: {
      type: 'object',
      properties: Object.fromEntries(Object.entries(rows).map(([name, { schema }]) => [name, schema])),
      required,
      additionalProperties: false,
    },
    check(action, name, value) {
      object(action, name, value)
      refuseUnknownKeys(`${action}: ${name}`, value as object, Object.keys(rows))
      checkRows(action, rows, required, value as object, `${name}.`)
    },
  }
}

/** @throws {TypeError | RangeError} An option that is unknown, missing, or not as its row wants it. */
export function checkOptions(action: string, rows: Rows, required: readonly string[], given: object): void {
  refuseUnknownKeys(action, given, Object.keys(rows))
  checkRows(action, rows, required, given, '')
}

function checkRows(action: string, rows: Rows, required: readonly string[], given: object, prefix: string): void {
  for (const [name, row] of Object.entries(rows)) {
    const value = (given as Readonly<Record<string, unknown>>)[name]
    if (value !== undefined || required.includes(name)) row.check(action, prefix + name, value)
  }
}
