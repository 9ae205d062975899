/** A value as messages show it: a text in double quotes. Whatever it holds, it stays on its line. */
export function quoted(value: unknown): string {
  return JSON.stringify(value)
}
