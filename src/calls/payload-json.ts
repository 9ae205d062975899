import type { Field } from '../core/entry.ts'
import { parseJsonKeepingNumbers, rawJsonNumber } from '../core/json-source.ts'

/**
 * A payload as JSON: the published text where the schema changed nothing. Where it did, numbers that it left alone go on as they came, also
 * those that JavaScript cannot hold.
 *
 * @throws {TypeError | RangeError} The payload cannot be written as JSON.
 */
export function payloadJson(payload: unknown, fields: readonly Field[]): string {
  const text = onlyText(fields, 'payload')
  if (text !== undefined && isWhatIsSaid(payload, text)) return text
  return JSON.stringify(exactly(payload, publishedOf(payload, fields, text))) ?? 'null'
}

/** What an entry may have said: JSON in one field, or one member a field, of which one may be named `payload`. */
function publishedOf(payload: unknown, fields: readonly Field[], text: string | undefined): readonly unknown[] {
  if (text === undefined) return [flat(fields, payload)]
  const isMember = isPlain(payload) && Object.hasOwn(payload, 'payload')
  return [parseJsonKeepingNumbers(text), ...(isMember ? [flat(fields, payload)] : [])]
}

/** Whether a payload is what a text of JSON says, in whatever order; of any depth. */
function isWhatIsSaid(payload: unknown, text: string): boolean {
  const pairs: (readonly [unknown, unknown])[] = []
  try {
    pairs.push([payload, JSON.parse(text)])
  } catch {
    return false
  }
  for (let pair = pairs.pop(); pair; pair = pairs.pop()) {
    const [given, said] = pair
    if (Object.is(given, said)) continue
    if (Array.isArray(given) && Array.isArray(said) && given.length === said.length) {
      for (const [n, item] of said.entries()) pairs.push([given[n], item])
    } else if (isPlain(given) && isPlain(said)) {
      const names = Object.keys(given).filter((name) => given[name] !== undefined)
      if (names.length !== Object.keys(said).length) return false
      for (const name of names) {
        if (!Object.hasOwn(said, name)) return false
        pairs.push([given[name], said[name]])
      }
    } else return false
  }
  return true
}

/** A flat entry's members: what each field says, if it is there once and is JSON. */
function flat(fields: readonly Field[], payload: unknown): object {
  const names = isPlain(payload) ? Object.keys(payload) : []
  return Object.fromEntries(names.map((name) => [name, parseJsonKeepingNumbers(onlyText(fields, name) ?? '')]))
}

/** The value of a field that is there once. */
function onlyText(fields: readonly Field[], name: string): string | undefined {
  const [field, ...others] = fields.filter((one) => one[0].toString() === name)
  return others.length === 0 ? field?.[1].toString() : undefined
}

/** The payload, its numbers as they stand in what was published, wherever one reading of that has the same number at the same place. */
function exactly(payload: unknown, published: readonly unknown[]): unknown {
  if (published.length === 0) return payload
  if (typeof payload === 'number')
    return published.map((one) => rawJsonNumber(payload, one)).find((raw) => raw !== payload) ?? payload
  if (Array.isArray(payload)) {
    const arrays = published.filter((one) => Array.isArray(one))
    const at = (n: number) => arrays.map((one): unknown => one[n])
    return payload.map((item, n) => exactly(item, at(n)))
  }
  if (!isPlain(payload)) return payload
  const objects = published.filter(isPlain)
  const under = (name: string) => objects.filter((one) => Object.hasOwn(one, name)).map((one) => one[name])
  return Object.fromEntries(Object.entries(payload).map(([name, value]) => [name, exactly(value, under(name))]))
}

function isPlain(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || typeof (value as { toJSON?: unknown }).toJSON === 'function')
    return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
