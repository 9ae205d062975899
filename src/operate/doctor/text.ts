import { number } from '../../core/words.ts'
import { quoted } from '../../errors.ts'

/** A name as a word of a shell's command. */
export function word(name: string): string {
  return /^[\w@%+=:,./-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`
}

/** The first names, and how many more there are. */
export function list(names: readonly string[], most = 5): string {
  const more = names.length - most
  return names.slice(0, most).map(quoted).join(', ') + (more > 0 ? ` and ${number(more)} more` : '')
}
