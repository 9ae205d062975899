import { hash } from 'node:crypto'

/** Characters of a name that a key spells out. */
const MAX_SPELLED = 128

/** What ends a key: a long name has its hash there. */
export function spelled(name: string): string {
  if (name.length <= MAX_SPELLED && name.isWellFormed()) return name
  return `${name.slice(0, MAX_SPELLED / 2).toWellFormed()}~${hash('sha256', JSON.stringify(name))}`
}
