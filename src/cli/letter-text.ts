import { isUtf8 } from 'node:buffer'
import type { DeadLetter, UnreadableDeadLetter } from '../core/dead-letter/parse-dead-letter.ts'
import type { Bytes, Field } from '../core/entry.ts'
import { cutText, printable, printableName } from './text/printable.ts'

type Letter = DeadLetter | UnreadableDeadLetter

/** Characters of an error that a row shows; `show` has all. */
const MOST_ERROR = 1_000

const COLUMNS = ['LETTER', 'SET ASIDE', 'GROUP', 'REASON', 'TYPE', 'KEY', 'DELIVERIES', 'ENTRY', 'ERROR'] as const
const AT_KEY = COLUMNS.indexOf('KEY')

/**
 * Makes the lines of a table of dead letters, some letters at a time, so that there may be any number of them. Columns keep to the widest that
 * there was so far; the last one is cut to what the width leaves it.
 */
export function createDeadLetterTable(width: number): (letters: readonly Letter[]) => string[] {
  const widths: number[] = []
  let hasKeys: boolean | undefined
  return (letters) => {
    const titles = hasKeys === undefined
    // whether there is a column of keys is seen by the first of them
    hasKeys ??= letters.some((letter) => letter.problem === undefined && letter.orderingKey !== undefined)
    const rows = [...(titles ? [[...COLUMNS]] : []), ...letters.map(rowOf)].map((row) =>
      row.toSpliced(AT_KEY, hasKeys ? 0 : 1),
    )
    for (const row of rows) for (const [n, cell] of row.entries()) widths[n] = Math.max(widths[n] ?? 0, cell.length)
    return rows.map((row) => {
      const line = row
        .map((cell, n) => cell.padEnd(widths[n] ?? 0))
        .join('  ')
        .trimEnd()
      return line.length > width ? `${line.slice(0, width - 1)}…` : line
    })
  }
}

function rowOf(letter: Letter): string[] {
  const { id } = letter
  const setAside = timeOf(id)
  if (letter.problem !== undefined)
    return [id, setAside, '', '', '', '', '', '', `cannot be read: ${printable(cutText(letter.problem, MOST_ERROR))}`]
  const { group, reason, eventType = '', orderingKey = '', deliveryCount, entryId, error } = letter
  const said = error ? printable(cutText(`${error.name}: ${error.message}`, MOST_ERROR)) : ''
  return [
    ...[id, setAside, group, reason, eventType, orderingKey, String(deliveryCount), entryId].map(printableName),
    said,
  ]
}

/** The server's time at which a letter was added, to the second. */
function timeOf(id: string): string {
  const date = new Date(Number.parseInt(id, 10))
  return Number.isNaN(date.getTime()) ? '' : `${date.toISOString().slice(0, 19)}Z`
}

/** A dead letter as lines of name and value; of the entry's own fields only how many they are, unless asked. */
export function deadLetterLines(letter: Letter, withPayload: boolean): string[] {
  const { fields, error, ...head } = { fields: undefined, error: undefined, ...letter }
  const known = Object.entries(head).filter(([, value]) => value !== undefined)
  const lines = known.map(([name, value]) => line(name, printable(String(value))))
  if (letter.problem !== undefined) return lines
  if (error) lines.push(line('error', printable(`${error.name}: ${error.message}`)), ...stackLines(error.stack))
  if (!fields) return [...lines, line('fields', 'packed, and cannot be read over this connection')]
  lines.push(line('fields', `${fields.length}${withPayload ? '' : ', shown with --payload'}`))
  if (withPayload) for (const [name, value] of fields) lines.push(`  ${readable(name)}: ${readable(value)}`)
  return lines
}

const NAME_WIDTH = 15

function line(name: string, value: string): string {
  return `${name.padEnd(NAME_WIDTH)} ${value}`
}

function stackLines(stack: string): string[] {
  return stack
    .split('\n')
    .filter((text) => /^\s+at /.test(text))
    .map((text) => `${' '.repeat(NAME_WIDTH)} ${printable(text)}`)
}

/** A dead letter for machines. The entry's own fields only if asked: each a pair of texts, or of `{ base64 }` where bytes are no text. */
export function deadLetterJson(letter: Letter, withPayload: boolean): object {
  const { fields, ...head } = { fields: undefined, ...letter }
  return withPayload && fields ? { ...head, fields: fields.map(pairJson) } : head
}

function pairJson([name, value]: Field): unknown[] {
  return [asJson(name), asJson(value)]
}

function asJson(bytes: Bytes): string | { base64: string } {
  return textOf(bytes) ?? { base64: bytes.toString('base64') }
}

function readable(bytes: Bytes): string {
  return printable(textOf(bytes) ?? `base64 ${bytes.toString('base64')}`)
}

function textOf(bytes: Bytes): string | undefined {
  if (typeof bytes === 'string') return bytes
  return isUtf8(bytes) ? bytes.toString() : undefined
}
