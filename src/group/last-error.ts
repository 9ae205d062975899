import { errorTexts, issuesOf } from '../core/dead-letter/dead-letter.ts'
import { isPlainAck } from '../core/outcome.ts'
import type { Settlement } from './group.ts'
import { isDeadLetterSettlement } from './group.ts'
import { waitsInOrder } from './ordering.ts'

/** Characters of the last error that a member of a lane keeps. */
const LONGEST = 200

/** What begins the fields of a group's state that have the last error of an entry, whose id comes behind it: there while the entry is a member of its lane. */
export const LAST_ERROR_FIELDS = 'error:'

/** What ends a line, or does something else than show: one space stands for all that stand together. */
const NO_TEXT = /[\s\p{Cc}\p{Zl}\p{Zp}]+/gu

/** A name and a message on one line of whole characters; where it is cut, a mark is its last. */
export function lineOf(name: string, message: string): string {
  const text = [name, message].filter((part) => part !== '').join(': ')
  const line = text.toWellFormed().replace(NO_TEXT, ' ').trim()
  if (line.length <= LONGEST) return line
  // no half of a character
  return `${line.slice(0, LONGEST - 1).replace(/[\uD800-\uDBFF]$/, '')}…`
}

/** Why an entry stays undone, or would where its dead letter is refused: its own failure, as a dead letter says it. `''`: it failed with nothing that could be said. `undefined`: it did not fail now. */
export function lastErrorOf(settlement: Settlement): string | undefined {
  const { outcome } = settlement
  if (isPlainAck(outcome) || waitsInOrder(outcome)) return undefined
  const error = isDeadLetterSettlement(settlement)
    ? settlement.outcome.letter.error
    : (settlement as { readonly error?: unknown }).error
  if (error === undefined && outcome.kind !== 'retry') return undefined
  const { name, message } = errorTexts(error, issuesOf)
  return lineOf(name, message)
}
