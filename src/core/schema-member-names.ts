import type { StandardSchemaV1 } from '@standard-schema/spec'

/** Where schema libraries keep an object's members by name: zod, valibot and enums, JSON Schema, yup. */
const BY_NAME = new Set(['shape', 'entries', 'properties', 'fields'])
/** Where others list them, each with its name: arktype, Effect, Joi. */
const NAMES = ['key', 'name'] as const
/** Members that are hidden from enumeration and lead on. */
const HIDDEN = ['_zod', 'json', 'ast', '$_terms']
/** Objects of a schema that are inspected. */
const MOST_OBJECTS = 20_000

const known = new WeakMap<object, ReadonlySet<string>>()

/**
 * The names of members that a schema itself has, as far as it shows them: what of a payload's path may be shown. What is not found there may be
 * a key of the payload, as of a record. A schema that shows nothing is asked once what it misses in an empty object.
 */
export function schemaMemberNames(schema: StandardSchemaV1): ReadonlySet<string> {
  let names = known.get(schema)
  if (!names) {
    names = new Set([...shownNames(schema), ...missedNames(schema)])
    known.set(schema, names)
  }
  return names
}

function shownNames(schema: object): Set<string> {
  const names = new Set<string>()
  const seen = new Set<object>([schema])
  for (const node of seen) {
    if (seen.size > MOST_OBJECTS) break
    for (const name of new Set([...Object.keys(node), ...HIDDEN])) {
      const value = memberOf(node, name)
      if (typeof value === 'string' && (NAMES as readonly string[]).includes(name)) names.add(value)
      if (!isObject(value) || ArrayBuffer.isView(value)) continue
      if (BY_NAME.has(name) && !Array.isArray(value)) for (const member of Object.keys(value)) names.add(member)
      seen.add(value)
    }
  }
  return names
}

function memberOf(node: object, name: string): unknown {
  try {
    return (node as Record<string, unknown>)[name]
  } catch {
    return undefined
  }
}

/** Nothing of a payload is in an empty object, so that what is missed in it is the schema's own. */
function missedNames(schema: StandardSchemaV1): string[] {
  try {
    const result = schema['~standard'].validate({})
    if ('then' in result) {
      result.then(undefined, () => {})
      return []
    }
    return (result.issues ?? []).flatMap(({ path = [] }) =>
      path.map((part) => String(typeof part === 'object' ? part.key : part)),
    )
  } catch {
    return []
  }
}

function isObject(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function'
}
