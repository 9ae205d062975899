import { quoted } from '../../errors.ts'

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['min', 60_000],
  ['s', 1_000],
] as const

/** Milliseconds for a reader: `3 min`. */
export function span(ms: number): string {
  const [unit, length] = UNITS.find(([, length]) => ms >= length) ?? ['ms', 1]
  return `${number(Math.round(ms / length))} ${unit}`
}

/** A number for a reader: `12,345`. */
export function number(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: value < 10 ? 2 : 0 })
}

/** `1 entry`, `2 entries`. */
export function count(value: number, one: string, many = `${one}s`): string {
  return `${number(value)} ${value === 1 ? one : many}`
}

/** A name as a word of a shell's command. */
export function word(name: string): string {
  return /^[\w@%+=:,./-]+$/.test(name) ? name : `'${name.replaceAll("'", "'\\''")}'`
}

/** The first names, and how many more there are. */
export function list(names: readonly string[], most = 5): string {
  const more = names.length - most
  return names.slice(0, most).map(quoted).join(', ') + (more > 0 ? ` and ${number(more)} more` : '')
}
