import { shownPath } from '../core/invalid-payload.ts'
import type { SchemaIssue } from '../core/issues.ts'
import { kindOf, wrongUseError } from '../core/options.ts'
import { isPlainObject } from '../core/plain-object.ts'
import { schemaMemberNames } from '../core/schema-member-names.ts'
import type { EventDefinition } from '../define/event.ts'
import { quotedValue } from '../errors.ts'

/** @throws {TypeError} It is no JSON: the message says where, by the schema's own names. */
export function payloadToJson(action: string, event: EventDefinition, payload: unknown): string {
  const rule = `the payload of ${quotedValue(event.type)} must be JSON`
  let json: string | undefined
  try {
    json = JSON.stringify(payload)
  } catch {
    throw wrongUseError(action, `${rule}: ${whyNoJson(event, payload)}`)
  }
  if (json === undefined) throw wrongUseError(action, `${rule}, got ${kindOf(payload)}`)
  return json
}

/** What JSON.stringify stumbled over: it is asked once more, and noted what it goes through. */
function whyNoJson({ payload: schema }: EventDefinition, payload: unknown): string {
  /** What holds the value in hand, and by which keys one gets there, outermost first. */
  const within: { readonly holder: unknown; readonly key: string }[] = []
  let why: string | undefined
  function note(this: unknown, key: string, value: unknown): unknown {
    while (within.length > 0 && within.at(-1)?.holder !== this) within.pop()
    const isCircular = within.some(({ holder }) => holder === value)
    if (why === undefined && (isCircular || typeof value === 'bigint')) {
      const path = [...within, { key }].slice(1).map((one) => (/^\d+$/.test(one.key) ? Number(one.key) : one.key))
      const at = shownPath(path, schemaMemberNames(schema)) || 'the payload itself'
      why = isCircular ? `${at} refers to what it is part of` : `${at} is a BigInt, which may be given as a string`
    }
    if (typeof value === 'object' && value !== null) within.push({ holder: value, key })
    return value
  }
  try {
    JSON.stringify(payload, note)
  } catch {
    // as before
  }
  return why ?? 'it cannot be read'
}

/** What to say of a payload that its schema refuses as JSON, where it is no JSON as it was given. */
export function jsonAdvice(payload: unknown, issues: readonly SchemaIssue[]): string {
  try {
    if (issues.every(({ path }) => isJson(path.reduce<unknown>(memberOf, payload)))) return ''
    return '; it is checked as the JSON that consumers read, where a Date is text (as for z.coerce.date()), and a Map or a Set is empty'
  } catch {
    return ''
  }
}

function memberOf(value: unknown, key: string | number): unknown {
  return (value as Readonly<Record<string, unknown>> | null | undefined)?.[key]
}

/** Whether a value is the same in JSON, but for what it holds. */
function isJson(value: unknown): boolean {
  if (typeof value === 'number') return Number.isFinite(value)
  if (typeof value !== 'object' || value === null) return typeof value !== 'function' && typeof value !== 'symbol'
  return Array.isArray(value) || isPlainObject(value)
}
