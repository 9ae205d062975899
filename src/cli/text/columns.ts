/** What takes two columns of a terminal: East Asian scripts, full-width forms, pictures. */
const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{16fe0}-\u{18cff}\u{1b000}-\u{1b2ff}\u{1f000}-\u{1faff}\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}/u
/** What stands on the character before it. */
const NO_WIDTH = /[\p{Mn}\p{Me}]/u
const CHARACTERS = /./gsu

/** Columns of a terminal that a text takes, as most of them draw it. */
export function columnsOf(text: string): number {
  let columns = 0
  for (const [char] of text.matchAll(CHARACTERS)) columns += widthOf(char)
  return columns
}

/** A text that takes no more than so many columns, with `…` where it was cut. */
export function fitColumns(text: string, most: number): string {
  if (columnsOf(text) <= most) return text
  let columns = 0
  let kept = ''
  for (const [char] of text.matchAll(CHARACTERS)) {
    columns += widthOf(char)
    if (columns > most - 1) break
    kept += char
  }
  return `${kept}…`
}

/** A text as lines of so many columns at most, broken between words where there are any. */
export function wrapColumns(text: string, most: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ').flatMap((whole) => cutWord(whole, most))) {
    const longer = line === '' ? word : `${line} ${word}`
    if (columnsOf(longer) <= most) line = longer
    else {
      lines.push(line)
      line = word
    }
  }
  return [...lines, line]
}

function cutWord(word: string, most: number): string[] {
  const pieces: string[] = []
  let piece = ''
  for (const [char] of word.matchAll(CHARACTERS)) {
    if (columnsOf(piece) + widthOf(char) > most) {
      pieces.push(piece)
      piece = ''
    }
    piece += char
  }
  return [...pieces, piece]
}

function widthOf(char: string): number {
  return NO_WIDTH.test(char) ? 0 : WIDE.test(char) ? 2 : 1
}
