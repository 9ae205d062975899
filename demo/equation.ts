import { paint } from './paint.ts'

/** A number and what it is. */
export type Term = readonly [label: string, value: number]

/** Both sides must be the same sum. */
export interface Equation {
  readonly left: readonly Term[]
  readonly right: readonly Term[]
}

export function isEven({ left, right }: Equation): boolean {
  return sum(left) === sum(right)
}

const sum = (terms: readonly Term[]) => terms.reduce((total, [, value]) => total + value, 0)

/** Each with whether it is even: lines without a line's end. */
export function equationLines(equations: readonly Equation[]): string[] {
  const width = Math.max(...equations.map(({ left }) => sideText(left).length))
  return equations.map((equation) => {
    const mark = isEven(equation) ? paint('green', 'ok') : paint('red', 'NO')
    return `${mark}  ${equationText(equation, width)}`
  })
}

export function equationText({ left, right }: Equation, width = 0): string {
  return `${sideText(left).padEnd(width)} = ${sideText(right)}`
}

function sideText(terms: readonly Term[]): string {
  return terms.map(([label, value]) => `${label} ${value}`.trim()).join(' + ')
}
