import type { Field } from '../core/entry.ts'
import { rawJson, withSources } from '../core/json-source.ts'

/**
 * A payload as JSON: the published text where the schema changed nothing. Where it did, numbers that it left alone go on as they came, also
 * those that JavaScript cannot hold.
 *
 * @throws {TypeError | RangeError} The payload cannot be written as JSON.
 */
export function payloadJson(payload: unknown, fields: readonly Field[]): string {
  const written = JSON.stringify(payload) ?? 'null'
  const text = onlyText(fields, 'payload')
  if (text === written) return text
  if (text !== undefined && again(text) === written) return text
  return JSON.stringify(exactly(payload, text === undefined ? flat(fields, payload) : withSources(text))) ?? 'null'
}

/** What JavaScript makes of a text of JSON; `undefined` if it is none. */
function again(text: string): string | undefined {
  try {
    return JSON.stringify(JSON.parse(text))
  } catch {
    return undefined
  }
}

/** A flat entry's members: what each field says, if it is there once and is JSON. */
function flat(fields: readonly Field[], payload: unknown): object {
  const names = isPlain(payload) ? Object.keys(payload) : []
  return Object.fromEntries(names.map((name) => [name, withSources(onlyText(fields, name) ?? '')]))
}

/** The value of a field that is there once. */
function onlyText(fields: readonly Field[], name: string): string | undefined {
  const [field, ...others] = fields.filter((one) => one[0].toString() === name)
  return others.length === 0 ? field?.[1].toString() : undefined
}

/** The payload, its numbers as they stand in what was published, wherever that has the same number at the same place. */
function exactly(payload: unknown, published: unknown): unknown {
  if (typeof payload === 'number') return rawJson(payload, published)
  if (Array.isArray(payload))
    return Array.isArray(published) ? payload.map((item, n) => exactly(item, published[n])) : payload
  if (!isPlain(payload) || !isPlain(published)) return payload
  return Object.fromEntries(
    Object.entries(payload).map(([name, value]) => [
      name,
      Object.hasOwn(published, name) ? exactly(value, published[name]) : value,
    ]),
  )
}

function isPlain(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || 'toJSON' in value) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
