/** Controls, marks of direction, and what ends a line: in a terminal they would do something instead of showing. */
const HARMFUL = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

/** A text on one line of a terminal: what would do something there is shown as `\u{…}`. */
export function printable(text: string): string {
  return text.replace(HARMFUL, (char) => `\\u{${char.codePointAt(0)?.toString(16)}}`)
}

/** JSON on one line, with nothing but what shows. */
export function printableJson(value: unknown): string {
  return JSON.stringify(value).replace(HARMFUL, (char) =>
    Array.from({ length: char.length }, (_, n) => `\\u${char.charCodeAt(n).toString(16).padStart(4, '0')}`).join(''),
  )
}
