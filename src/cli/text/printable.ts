/** Controls, marks of direction, what ends a line, and halves of characters: in a terminal they would do something instead of showing. */
const HARMFUL = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu
/** The same within JSON, whose own line ends, where it has any, stand between values. */
const HARMFUL_IN_JSON = /(?!\n)[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu

/** A text cut to so many characters, with how many there are more. */
export function cutText(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most)}… (${text.length - most} more)`
}

/** Characters of a name that a table or a line shows: names are data, and one of a megabyte would make each line that long. */
const NAME = 100

/** A name on one line of a terminal, cut. */
export function printableName(text: string): string {
  return printable(cutText(text, NAME))
}

/** A text on one line of a terminal: what would do something there is shown as `\u{…}`. */
export function printable(text: string): string {
  return text.replace(HARMFUL, (char) => `\\u{${char.codePointAt(0)?.toString(16)}}`)
}

/** JSON with nothing but what shows, on one line unless the caller indents it. */
export function printableJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, undefined, indent).replace(HARMFUL_IN_JSON, (char) =>
    Array.from({ length: char.length }, (_, n) => `\\u${char.charCodeAt(n).toString(16).padStart(4, '0')}`).join(''),
  )
}
