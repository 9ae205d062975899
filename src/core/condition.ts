import { hash } from 'node:crypto'

/** Characters of what an entry waits for that a condition spells out. */
export const LONGEST_CONDITION = 180

/** Reasons of conditions that are our own: no policy may have such a name. */
export const RESERVED_CONDITION_REASONS = ['retry', 'held', 'paused', 'unrouted', 'newer-version'] as const

/**
 * What an entry waits for, as the index has it: a reason, and what that is about, as in `held OrderPaid`. Control characters, and percent signs, are written as in
 * a URL; what is long ends in its hash.
 */
export function formatCondition(reason: string, what: string): string {
  const text = escaped(what)
  // half a character that was cut is what it comes back as
  const short =
    text.length <= LONGEST_CONDITION ? text : `${text.slice(0, LONGEST_CONDITION).toWellFormed()}~${hash('sha1', text)}`
  return `${escaped(reason).replaceAll(' ', '%20')} ${short}`
}

/** What a condition was made of; of what was long, it has the start and the hash. */
export function parseCondition(condition: string): { readonly reason: string; readonly what: string } {
  const space = condition.indexOf(' ')
  return { reason: unescaped(condition.slice(0, space)), what: unescaped(condition.slice(space + 1)) }
}

/** Printable ASCII without the percent sign: most texts, a tenth of the time. */
const PLAIN = /^[ -$&-~]*$/

function escaped(text: string): string {
  if (PLAIN.test(text)) return text
  return text.toWellFormed().replace(/[\p{Cc}%]/gu, (c) => {
    const code = c.charCodeAt(0)
    return code < 0x80 ? `%${code.toString(16).padStart(2, '0').toUpperCase()}` : c
  })
}

function unescaped(text: string): string {
  return text.replace(/%([0-9A-F]{2})/g, (_all, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
}
