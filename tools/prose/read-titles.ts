import { lineAt } from './read-prose.ts'

/** The title of one test or of one group of tests, without its parents'. */
export interface Title {
  readonly line: number
  readonly text: string
}

const HEAD = /(?<![\w.])(?:describe|it|test)((?:\.\w+)*)(?:<[^()`]*>)?(?=[(`])/g

/** A text, a comment, a bracket, or any other character: what it takes to find the bracket that closes. */
const TOKEN = /'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\.|[^`\\])*`|\/\/[^\n]*|\/\*[\s\S]*?\*\/|[\s\S]/y

/** Modifiers with arguments of their own, before those that begin with the title. */
const MODIFIER = /\.(?:each|for|skipIf|runIf)$/

const TITLE = /\(\s*(?:'((?:\\.|[^'\\\n])*)'|"((?:\\.|[^"\\\n])*)"|`((?:\\.|[^`\\])*)`)/y

/** Reads the titles of a test file: first arguments of `describe`, `it` and `test`, with their rows' places as written. */
export function readTitles(source: string): Title[] {
  return [...source.matchAll(HEAD)].flatMap(({ index, 0: head, 1: modifiers = '' }) => {
    let at = index + head.length
    if (MODIFIER.test(modifiers)) at = endOfArguments(source, at)
    TITLE.lastIndex = at
    const [, single, double, template] = TITLE.exec(source) ?? []
    const text = single ?? double ?? template
    return text === undefined ? [] : [{ line: lineAt(source, index), text }]
  })
}

/** @returns The number of words; a place (`%s`, `$name`, `${…}`) is one. */
export function countWords(title: string): number {
  return title
    .replace(/\$\{[^}]*\}/g, 'X')
    .trim()
    .split(/\s+/).length
}

function endOfArguments(source: string, start: number): number {
  let depth = 0
  TOKEN.lastIndex = start
  for (let token = TOKEN.exec(source)?.[0]; token !== undefined; token = TOKEN.exec(source)?.[0]) {
    if (token === '(') depth++
    if (token === ')') depth--
    if (depth === 0) return TOKEN.lastIndex
  }
  return source.length
}
