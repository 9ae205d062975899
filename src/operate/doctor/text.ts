import { formatNumber } from '../../core/words.ts'
import { quotedValue } from '../../errors.ts'

/** A name as a word of a shell's command. */
export function quoteForShell(name: string): string {
  return /^[\w@%+=:,./-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`
}

/** The first names, and how many more there are. */
export function listFirstNames(names: readonly string[], most = 5): string {
  const more = names.length - most
  return names.slice(0, most).map(quotedValue).join(', ') + (more > 0 ? ` and ${formatNumber(more)} more` : '')
}
