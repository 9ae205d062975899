import { styleText } from 'node:util'

type Format = Parameters<typeof styleText>[0]

/** Colours a text; pad it first. */
export type Paint = (format: Format, text: string) => string

/** Colours where standard output shows colours: a terminal, without NO_COLOR. */
export const paint: Paint = (format, text) => styleText(format, text, { stream: process.stdout })

/** A cell of a table, or only its text. */
export type TableCell = string | { readonly text: string; readonly as: Format }

export interface TableColumn {
  readonly title: string
  /** Numbers go to the right. Default `left`. */
  readonly align?: 'left' | 'right'
}

/** Aligned lines: the titles, then one line per row. */
export function tableLines(
  columns: readonly TableColumn[],
  rows: readonly (readonly TableCell[])[],
  colour: Paint = paint,
): string[] {
  const widths = widthsOf(columns, rows)
  const line = (cells: readonly TableCell[], as?: Format) =>
    columns
      .map(({ align }, n) => {
        const cell = cells[n] ?? ''
        const padded = pad(textOf(cell), widths[n] ?? 0, align)
        const format = typeof cell === 'object' ? cell.as : as
        return format === undefined ? padded : colour(format, padded)
      })
      .join('  ')
      .trimEnd()
  const titles = columns.map(({ title }) => title)
  return [line(titles, 'dim'), ...rows.map((row) => line(row))]
}

function widthsOf(columns: readonly TableColumn[], rows: readonly (readonly TableCell[])[]): number[] {
  // not spread: there may be more rows than a call has arguments
  return columns.map(({ title }, n) =>
    rows.reduce((widest, row) => Math.max(widest, textOf(row[n]).length), title.length),
  )
}

function textOf(cell: TableCell | undefined): string {
  return typeof cell === 'object' ? cell.text : (cell ?? '')
}

function pad(text: string, width: number, align: TableColumn['align']): string {
  return align === 'right' ? text.padStart(width) : text.padEnd(width)
}
