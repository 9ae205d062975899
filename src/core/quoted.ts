/** Characters of a text that a message shows. */
const MOST_SHOWN = 200

/** A value as messages show it: a text in double quotes, a long one cut. Whatever it holds, it stays on its line. */
export function quoted(value: unknown): string {
  if (typeof value !== 'string' || value.length <= MOST_SHOWN) return JSON.stringify(value)
  return `${JSON.stringify(value.slice(0, MOST_SHOWN))}… (${value.length} characters)`
}
