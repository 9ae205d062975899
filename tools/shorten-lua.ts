/**
 * One token of the Lua that the scripts use. An interpolation of the TypeScript around it is a token, too; it may stand for a number or for
 * whole statements.
 */
const TOKEN =
  /(?<blank>\s+|--[^\n]*)|(?<text>'(?:[^'\\\n]|\\.)*')|(?<hole>\$\{[^}]*\})|(?<name>redis\.call\b|[A-Za-z_]\w*)|\d+|\.\.|[=~<>]=|\[(?![[=])|[-+*/%^#<>=(){}\];:,.]/y

/** What starts the names that a function, a loop or an assignment declares. */
const DECLARATION =
  /\blocal\s+function\s+(\w+)\s*\(([^)]*)\)|\bfunction\s*\(([^)]*)\)|\b(?:local|for)[^\S\n]+(\w+(?:[^\S\n]*,[^\S\n]*\w+)*)/g

const KEYWORDS =
  /^(and|break|do|else|elseif|end|false|for|function|if|in|local|nil|not|or|repeat|return|then|true|until|while)$/

/** What Lua and Redis give to scripts. */
const GLOBALS =
  /^(redis|KEYS|ARGV|type|tostring|tonumber|string|table|math|ipairs|pairs|next|unpack|select|error|pcall)$/

const LETTERS = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'.split('')

/** What the scripts call most: each has it in a local of its own. */
const CALL = 'redis.call'

/** Some Lua: a whole script, or what is put into scripts. */
export interface Piece {
  readonly code: string
  readonly isScript: boolean
}

/**
 * Shortens pieces of Lua that are put together: comments and blanks go, and a local name becomes one or two letters, the same in every
 * piece. So does `redis.call`, which a script makes a local at its start. Knows no more of Lua than the scripts use.
 *
 * @throws {SyntaxError} A piece holds something else: a double quote, a long bracket, an escape in a text, a table with names, a local that hides
 * what another piece may use.
 */
export function shortenLua(pieces: readonly Piece[]): string[] {
  const names = shortNames(pieces.map(({ code }) => code))
  return pieces.map(({ code, isScript }) => {
    const tokens = tokensOf(code)
    // what is put into it may call, too
    const calls = tokens.some(({ value, kind }) => value === CALL || kind === 'hole')
    const call = isScript && calls && names.get(CALL)
    return (call ? `local ${call}=${CALL} ` : '') + join(tokens, names)
  })
}

interface Token {
  readonly value: string
  readonly kind: 'text' | 'hole' | 'name' | 'other'
}

function tokensOf(piece: string): Token[] {
  const tokens: Token[] = []
  let depth = 0
  TOKEN.lastIndex = 0
  while (TOKEN.lastIndex < piece.length) {
    const at = TOKEN.lastIndex
    const match = TOKEN.exec(piece)
    if (!match)
      throw new SyntaxError(`Cannot shorten Lua: unknown syntax at ${JSON.stringify(piece.slice(at, at + 20))}`)
    const { blank, text, hole, name } = match.groups ?? {}
    if (blank !== undefined) continue
    const [value] = match
    depth += value === '{' ? 1 : value === '}' ? -1 : 0
    if (text?.includes('\\')) throw new SyntaxError(`Cannot shorten Lua: an escape in ${text}`)
    if (value === '=' && depth > 0 && tokens.at(-1)?.kind === 'name')
      throw new SyntaxError(`Cannot shorten Lua: a table has the name ${tokens.at(-1)?.value}`)
    tokens.push({ value, kind: text ? 'text' : hole ? 'hole' : name ? 'name' : 'other' })
  }
  return tokens
}

/** The more often a name is used, the shorter it gets. Names that are not declared (functions of Lua and Redis, fields) keep theirs. */
function shortNames(pieces: readonly string[]): ReadonlyMap<string, string> {
  const declared = new Set([CALL, ...pieces.flatMap(declaredNames)])
  const hidden = [...declared].find((name) => GLOBALS.test(name))
  if (hidden !== undefined) throw new SyntaxError(`Cannot shorten Lua: a local hides ${hidden}`)
  const uses = new Map<string, number>()
  for (const tokens of pieces.map(tokensOf)) {
    for (const [at, { value, kind }] of tokens.entries()) {
      const isLocal = kind === 'name' && declared.has(value) && !isField(tokens[at - 1]?.value)
      if (isLocal) uses.set(value, (uses.get(value) ?? 0) + 1)
    }
  }
  const short = [...LETTERS, ...LETTERS.flatMap((a) => LETTERS.map((b) => a + b))].filter(
    (name) => !KEYWORDS.test(name),
  )
  return new Map([...uses].toSorted(([, a], [, b]) => b - a).map(([name], at) => [name, short[at] as string]))
}

function declaredNames(piece: string): string[] {
  const code = piece.replace(/--[^\n]*/g, '').replace(/'[^'\n]*'/g, "''")
  return [...code.matchAll(DECLARATION)]
    .flatMap(([, name = '', ...lists]) => [
      name,
      ...lists.flatMap((list: string | undefined) => list?.split(/\bin\b|\n/)[0]?.split(',') ?? []),
    ])
    .map((name) => name.trim())
    .filter((name) => /^[A-Za-z_]\w*$/.test(name) && !KEYWORDS.test(name))
}

function join(tokens: readonly Token[], names: ReadonlyMap<string, string>): string {
  let code = ''
  let last = ''
  for (const { value, kind } of tokens) {
    const next = kind === 'name' && !isField(last) ? (names.get(value) ?? value) : value
    // what would be read as one if it stood together: two words, two minuses (a comment), a number and dots
    const mustPart = (isWord(last) && isWord(next)) || (last === '-' && next === '-') || (isWord(last) && next === '..')
    code += mustPart ? ` ${next}` : next
    last = next
  }
  return code
}

/** Whether the name after it is that of a member or a method. */
function isField(before: string | undefined): boolean {
  return before === '.' || before === ':'
}

function isWord(token: string): boolean {
  return /^(\w|\$\{)/.test(token)
}
