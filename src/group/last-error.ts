import { deadLetterErrorTexts } from '../core/dead-letter/dead-letter.ts'
import { isPlainAck } from '../core/outcome.ts'
import type { Settlement } from './group.ts'
import { isDeadLetterSettlement } from './group.ts'
import { waitsInOrder } from './ordering.ts'

/** Characters of the last error that a member of a lane keeps. */
export const LONGEST_LAST_ERROR = 200

/** What begins the fields of a group's state that have the last error of an entry, whose id comes behind it: there while the entry is a member of its lane. */
export const LAST_ERROR_FIELDS = 'error:'

/** What ends a line, or does something else than show: one space stands for all that stand together. */
const NO_TEXT = /[\s\p{Cc}\p{Zl}\p{Zp}]+/gu

/** What an error says in a dead letter, name and message, on one line; cut where it is long. `''`: nothing was thrown. */
export function lastErrorText(error: unknown): string {
  const { name, message } = deadLetterErrorTexts(error)
  return lineOf(name, message)
}

/** A name and a message on one line of whole characters, at most 200 with the mark where it is cut. */
export function lineOf(name: string, message: string): string {
  const text = [name, message].filter((part) => part !== '').join(': ')
  const line = text.toWellFormed().replace(NO_TEXT, ' ').trim()
  if (line.length <= LONGEST_LAST_ERROR) return line
  // no half of a character
  return `${line.slice(0, LONGEST_LAST_ERROR - 1).replace(/[\uD800-\uDBFF]$/, '')}…`
}

/** Why an entry stays undone, or would where its dead letter is refused: its own failure. `''`: it failed with nothing that could be said. `undefined`: it did not fail now. */
export function lastErrorOf(settlement: Settlement): string | undefined {
  const { outcome } = settlement
  if (isPlainAck(outcome) || waitsInOrder(outcome)) return undefined
  const error = isDeadLetterSettlement(settlement)
    ? settlement.outcome.letter.error
    : (settlement as { readonly error?: unknown }).error
  return error === undefined && outcome.kind !== 'retry' ? undefined : lastErrorText(error)
}
