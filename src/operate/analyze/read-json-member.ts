/** The text that stands for a member of a JSON value: a string as it is, everything else as JSON. `undefined`: there is none. */
export function readJsonMember(value: unknown, path: readonly string[]): string | undefined {
  let member = value
  for (const name of path) {
    if (typeof member !== 'object' || member === null || !Object.hasOwn(member, name)) return undefined
    member = (member as Record<string, unknown>)[name]
  }
  return typeof member === 'string' ? member : jsonOf(member)
}

/** A value of too many levels is as good as none. */
function jsonOf(value: unknown): string | undefined {
  try {
    return JSON.stringify(value)
  } catch {
    return undefined
  }
}
