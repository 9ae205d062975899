/** One piece of prose in a file: a comment, a text that a program prints, or a page. */
export interface Prose {
  readonly kind: 'comment' | 'text' | 'page'
  /** Where the piece starts in its file. */
  readonly offset: number
  /** As long as in the file, with code, links and the marks of a comment left blank. */
  readonly text: string
}

/** Comments, regular expressions and texts of a source, whichever comes first. */
const TOKENS =
  /(?<comment>\/\*[\s\S]*?\*\/|\/\/[^\n]*)|(?<=(?:^|[(,=:[!&|?{};]|=>|return)\s*)\/(?![/*])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\\n])+\/[a-z]*|(?<text>'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`)/g

/** What within prose is no prose: code, places in a text, links, and the stars of a comment. */
const BLANK =
  /```[\s\S]*?```|(?<!`)`[^`\n]*`|\$\{[^}]*\}|https?:\/\/\S+|\]\([^)]*\)|\n *\*(?!\/)|^\/\*\*?|^\/\/|"[^"\n]*"/g

/** Reads the comments and the texts of a source file. A text counts from three words on. */
export function readSource(source: string): Prose[] {
  return [...source.matchAll(TOKENS)].flatMap(({ index, groups = {} }): Prose[] => {
    if (groups.comment !== undefined) return [{ kind: 'comment', offset: index, text: blank(groups.comment) }]
    if (groups.text === undefined || !/\w+ \w+ \w+/.test(groups.text)) return []
    return [{ kind: 'text', offset: index + 1, text: blank(groups.text.slice(1, -1)) }]
  })
}

/** Reads a Markdown page. */
export function readPage(source: string): Prose[] {
  return [{ kind: 'page', offset: 0, text: blank(source) }]
}

/** @returns The line, from 1, on which the offset lies. */
export function lineAt(source: string, offset: number): number {
  return source.slice(0, offset).split('\n').length
}

function blank(text: string): string {
  return text.replace(BLANK, (code) => code.replace(/[^\n]/g, ' '))
}
