import type { Equation } from '../equation.ts'
import { equationLines } from '../equation.ts'
import { paint } from '../paint.ts'
import type { Holdings } from './audit.ts'
import { reasonOf } from './audit.ts'
import { KINDS } from './generator.ts'
import type { DeadLetter } from './observer.ts'
import { functionTable } from './screen.ts'
import type { Tally } from './tally.ts'

/** What was written, what the functions did, whether it adds up, and one dead letter: lines without a line's end. */
export function summaryOf(tally: Tally, holdings: Holdings, equations: readonly Equation[]): string[] {
  const letter = holdings.deadLetters.find((one) => reasonOf(one) === 'non-retryable') ?? holdings.deadLetters[0]
  return [
    ...section('What was written, and what had to become of it', kindLines(tally)),
    ...section('What the functions did', functionTable(tally)),
    ...(letter ? section(`A dead letter, ${letter.id}`, letterLines(letter)) : []),
    ...section('Whether it adds up', equationLines(equations)),
  ]
}

function section(title: string, lines: readonly string[]): string[] {
  return ['', paint('bold', title), ...lines.map((line) => `  ${line}`)]
}

function kindLines(tally: Tally): string[] {
  const width = Math.max(...KINDS.map(({ label }) => label.length))
  return KINDS.map((kind) => {
    const fate = kind.fate === 'acked' ? 'acked' : `dead letter, ${kind.fate}`
    return `${kind.label.padEnd(width)}${`${tally.published.get(kind) ?? 0}`.padStart(7)}  ${paint('dim', fate)}`
  })
}

/** One field a line; a value of several lines goes on below its first. */
function letterLines({ fields }: DeadLetter): string[] {
  const width = Math.max(...fields.map(([name]) => name.length)) + 2
  return fields.flatMap(([name, value]) =>
    value.split('\n').map((line, n) => `${paint('dim', (n === 0 ? name : '').padEnd(width))}${line.trim()}`.trimEnd()),
  )
}
