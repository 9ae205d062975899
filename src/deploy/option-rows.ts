import { checkFilterPatterns, MAX_FILTER_PATTERNS } from '../core/filter-patterns.ts'
import {
  assertBoolean,
  assertInteger,
  assertKnownKeys,
  assertObject,
  assertOneOf,
  assertText,
  wrongUseError,
} from '../core/options.ts'
import type { NumberOptionRow } from '../core/rows.ts'
import { quotedValue } from '../errors.ts'

/** A JSON schema, as Ajv takes it in strict mode. */
export type JsonSchema = Readonly<Record<string, unknown>>

/** An option's rule, once for who reads YAML by a schema and once for who calls a function. */
export interface OptionRow {
  readonly schema: JsonSchema
  /** @throws {TypeError | RangeError} The message says the action, the rule and the value seen. */
  check(action: string, name: string, value: unknown): void
}

/** The only key of a reference. */
const REFERENCE = /^(Ref|Fn::\w+)$/

type Rows = Readonly<Record<string, OptionRow>>

/** Options by names of the user's own. */
export function namedOptionsRow(row: OptionRow): OptionRow {
  return {
    schema: { type: 'object', additionalProperties: row.schema },
    check(action, name, value) {
      assertObject(action, name, value)
      for (const [own, one] of Object.entries(value as object)) row.check(action, `${name}.${own}`, one)
    },
  }
}

/** Text that is not empty. */
export const textOptionRow: OptionRow = { schema: { type: 'string', minLength: 1 }, check: assertText }

export const booleanOptionRow: OptionRow = { schema: { type: 'boolean' }, check: assertBoolean }

export function wholeNumberOptionRow(min: number, max: number): OptionRow {
  return {
    schema: { type: 'integer', minimum: min, maximum: max },
    check: (action, name, value) => assertInteger(action, name, value, min, max),
  }
}

/** The rule of a setting of the code's; a deployment gives it as a whole number. */
export function numberOptionRow({ min, max }: NumberOptionRow): OptionRow {
  return wholeNumberOptionRow(min, max)
}

export function oneOfWordsOptionRow(words: readonly string[]): OptionRow {
  return {
    schema: { type: 'string', enum: words },
    check: (action, name, value) => assertOneOf(action, name, value, words),
  }
}

export function oneOfNumbersOptionRow(numbers: readonly number[]): OptionRow {
  return {
    schema: { type: 'integer', enum: numbers },
    check(action, name, value) {
      if (!numbers.includes(value as number))
        throw wrongUseError(action, `${name} must be one of ${numbers.join(', ')}, got ${value}`, RangeError)
    },
  }
}

/** Text of a form, which the message names: `schedule must be rate(…) or cron(…), got "1 minute"`. */
export function textPatternOptionRow(pattern: RegExp, form: string): OptionRow {
  return {
    schema: { type: 'string', pattern: pattern.source },
    check(action, name, value) {
      assertText(action, name, value)
      if (!pattern.test(value as string))
        throw wrongUseError(action, `${name} must be ${form}, got ${quotedValue(value)}`)
    },
  }
}

/** A row, or a reference of CloudFormation's that stands for it; `example` is one that messages show. */
export function optionRowOrReference(row: OptionRow, example = '{ Ref: … }'): OptionRow {
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
        throw wrongUseError(action, `${name} must be text or a reference, as in ${example}`)
    },
  }
}

/** An ARN, or a reference that stands for it, as `example` does. */
export function arnOptionRow(example: string): OptionRow {
  // a token of the CDK's is text, too, and becomes an ARN later
  const row = textPatternOptionRow(/^(arn:|\$\{Token\[)/, `an ARN or a reference, as in ${example}`)
  return optionRowOrReference({ ...row, schema: { type: 'string', pattern: '^arn:' } }, example)
}

/** A list, or its only item as it is. */
export function listOptionRow(row: OptionRow): OptionRow {
  return {
    schema: { anyOf: [row.schema, { type: 'array', items: row.schema, uniqueItems: true }] },
    check(action, name, value) {
      if (!Array.isArray(value)) return row.check(action, name, value)
      for (const [index, item] of value.entries()) row.check(action, `${name}[${index}]`, item)
    },
  }
}

/** An object of a language of its own, which is not looked into. */
export const objectOptionRow: OptionRow = { schema: { type: 'object' }, check: assertObject }

/** Characters of patterns that a function's environment has room for, beside all else: AWS takes 4 KB. */
const MOST_CHARACTERS = 2_048

/** Patterns of AWS's event filtering, which reach the code through the functions' environment. */
export const filterPatternsOptionRow: OptionRow = {
  schema: { type: 'array', minItems: 1, maxItems: MAX_FILTER_PATTERNS, items: { type: 'object' } },
  check(action, name, value) {
    const { length } = JSON.stringify(checkFilterPatterns(action, name, value))
    if (length <= MOST_CHARACTERS) return
    throw wrongUseError(
      action,
      `${name} must have ${MOST_CHARACTERS} characters or fewer as JSON, since AWS takes 4 KB of environment, got ${length}; give longer ones to ` +
        'filterPatterns() in the code',
      RangeError,
    )
  },
}

/** A row, or `false`, which switches it off. */
export function optionRowOrFalse(row: OptionRow): OptionRow {
  return {
    schema: { anyOf: [{ type: 'boolean', enum: [false] }, row.schema] },
    check(action, name, value) {
      if (value !== false) row.check(action, name, value)
    },
  }
}

/** Options of their own: those in `required` must be given, others than the rows' are refused. */
export function nestedOptionsRow(rows: Rows, required: readonly string[] = []): OptionRow {
  return {
    schema: {
      type: 'object',
      properties: Object.fromEntries(Object.entries(rows).map(([name, { schema }]) => [name, schema])),
      required,
      additionalProperties: false,
    },
    check(action, name, value) {
      assertObject(action, name, value)
      assertKnownKeys(`${action}: ${name}`, value as object, Object.keys(rows))
      checkRows(action, rows, required, value as object, `${name}.`)
    },
  }
}

/** @throws {TypeError | RangeError} An option that is unknown, missing, or not as its row wants it. */
export function checkOptions(action: string, rows: Rows, required: readonly string[], given: object): void {
  assertKnownKeys(action, given, Object.keys(rows))
  checkRows(action, rows, required, given, '')
}

function checkRows(action: string, rows: Rows, required: readonly string[], given: object, prefix: string): void {
  for (const [name, row] of Object.entries(rows)) {
    const value = (given as Readonly<Record<string, unknown>>)[name]
    if (value !== undefined || required.includes(name)) row.check(action, prefix + name, value)
  }
}
