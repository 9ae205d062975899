import { quotedValue } from '../errors.ts'
import { parseJson } from './codec.ts'

/** How the members of a flat payload stand in their fields. */
export interface FlatMembers {
  /** Fields that hold JSON and nothing else: names that may be shown. */
  readonly jsonFields: ReadonlySet<string>
  parse(name: string, text: string): unknown
  /** `undefined`: what there would be read back is another value. */
  write(name: string, value: unknown): string | undefined
  /** What a member must be. */
  readonly rule: string
}

/** A member that its codec cannot write. Its message has the name only once that is known to be one of the schema's, and no key of the payload's. */
export class UnwritableMemberError extends TypeError {
  declare readonly member: string
  declare readonly rule: string

  constructor(type: string, member: string, rule: string, isShown = false) {
    super(`Cannot encode ${quotedValue(type)}: member ${isShown ? quotedValue(member) : '*'} of the payload ${rule}`)
    // not enumerable, so that a logger which prints an error's members prints no key
    Object.defineProperties(this, { member: { value: member }, rule: { value: rule } })
  }
}

/** JSON in the named fields, strings in all others. */
export function membersByName(names: readonly string[]): FlatMembers {
  const jsonFields = new Set(names)
  return {
    jsonFields,
    parse: (name, text) => (jsonFields.has(name) ? parseJson(text, name) : text),
    write(name, value) {
      if (jsonFields.has(name)) return JSON.stringify(value)
      return typeof value === 'string' ? value : undefined
    },
    rule: 'must be a string, or be one of jsonFields: it would be read back as a string',
  }
}

/** JSON in each field that looks like an object or an array and is one, strings in all others. */
export const MEMBERS_BY_VALUE: FlatMembers = {
  jsonFields: new Set(),
  parse: (_name, text) => parseObject(text),
  write(_name, value) {
    if (typeof value === 'object' && value !== null) return JSON.stringify(value)
    return typeof value === 'string' && parseObject(value) === value ? value : undefined
  },
  rule: 'must be an object, an array, or a string that is no JSON of one: it would be read back as something else',
}

/** What a text says as a JSON object or array; the text itself where it is neither. */
function parseObject(text: string): unknown {
  if (!/^[{[]/.test(text)) return text
  try {
    return JSON.parse(text)
  } catch {
    return text // as "[draft] see below", or what Python's str() makes of a dict
  }
}
