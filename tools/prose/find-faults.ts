import { lineAt, type Prose, readPage, readSource } from './read-prose.ts'
import { countWords, readTitles } from './read-titles.ts'
import { WORD_ROWS } from './words.ts'

/** Most words of a test's title: past them a reader has forgotten the subject. */
const MAX_TITLE_WORDS = 16

/** On the line of a fault, or on the one above, it keeps the words as they are. */
const ESCAPE = 'prose-ok'

const ROWS = WORD_ROWS.map(({ pattern, instead }) => ({
  pattern: new RegExp(pattern.replaceAll(' ', '\\s+'), 'gi'),
  instead,
}))

/**
 * Finds what a stranger would have to read twice: in pages, in comments, in the texts that the package prints, and in titles of tests.
 *
 * @param file Path from the root of the repository; it decides what of the source is prose.
 * @returns Each fault as `file:line: what, and what to say instead`.
 */
export function findFaults(file: string, source: string): string[] {
  const lines = source.split('\n')
  const isKept = (line: number) => lines.slice(Math.max(0, line - 2), line).some((text) => text.includes(ESCAPE))
  return [...proseOf(file, source).flatMap((prose) => wordFaults(prose, source)), ...titleFaults(file, source)]
    .filter(({ line }) => !isKept(line))
    .map(({ line, fault }) => `${file}:${line}: ${fault}`)
}

interface Fault {
  readonly line: number
  readonly fault: string
}

function proseOf(file: string, source: string): Prose[] {
  if (file.endsWith('.md')) return readPage(source)
  return readSource(source).filter(({ kind }) => kind === 'comment' || file.startsWith('src/'))
}

function wordFaults({ offset, text }: Prose, source: string): Fault[] {
  return wordsOf(text).map(({ index, fault }) => ({ line: lineAt(source, offset + index), fault }))
}

function titleFaults(file: string, source: string): Fault[] {
  if (!file.startsWith('test/')) return []
  return readTitles(source).flatMap(({ line, text }) => {
    const count = countWords(text)
    const long = count > MAX_TITLE_WORDS ? [`${count} words, at most ${MAX_TITLE_WORDS}`] : []
    return [...long, ...wordsOf(text).map(({ fault }) => fault)].map((fault) => ({
      line,
      fault: `"${text}": ${fault}`,
    }))
  })
}

function wordsOf(text: string): { index: number; fault: string }[] {
  return ROWS.flatMap(({ pattern, instead }) =>
    [...text.matchAll(pattern)].map(({ index, 0: words }) => ({
      index,
      fault: `"${words.replace(/\s+/g, ' ')}": say ${instead}`,
    })),
  )
}
