import type { Report } from 'millrace'
import { describe, expect, test } from 'vitest'
import { equationText, isEven } from '../../../demo/equation.ts'
import type { Holdings } from '../../../demo/orders/audit.ts'
import { equationsOf } from '../../../demo/orders/audit.ts'
import type { Kind } from '../../../demo/orders/generator.ts'
import { KINDS } from '../../../demo/orders/generator.ts'
import { COUNTS, Tally } from '../../../demo/orders/tally.ts'

describe('equationsOf()', () => {
  test('is even throughout when everything was acked or is a dead letter', () => {
    expect(wrong(aTally(), {})).toEqual([])
  })

  test.each<[string, Partial<Holdings>, string[]]>([
    ['an entry is still pending', { pending: 1 }, ['XPENDING 1 = 0']],
    ['an entry was never read', { backlog: 1 }, ['backlog 1 = 0']],
    ['an entry stands in the stream twice', { length: 4 }, ['XLEN stream 4 = published 3']],
    ['a dead letter was written twice', { deadLettersLength: 2 }, ['XLEN dead letters 2 = dead-lettered 1']],
    [
      'a dead letter has another reason',
      { deadLetters: [aLetter('malformed')] },
      ['dead letters, invalid 0 = meant 1', 'dead letters, malformed 1 = meant 0'],
    ],
  ])('is uneven where %s', (_, holdings, lines) => {
    expect(wrong(aTally(), holdings)).toEqual(lines)
  })

  test('is uneven where a report does not add up, or an invocation failed', () => {
    const tally = aTally()
    tally.claimer.add({ ...aReport(), claimed: 1 })
    tally.claimer.add(new Error('no Redis'))

    expect(wrong(tally, {})).toEqual([
      'read 3 + claimed 1 = acked 2 + retried 0 + dead-lettered 1 + released 0 + superseded 0 + unsettled 0',
      'reports that do not add up 1 = 0',
      'failed invocations 1 = 0',
    ])
  })
})

function wrong(tally: Tally, holdings: Partial<Holdings>): string[] {
  const held = {
    length: 3,
    backlog: 0,
    pending: 0,
    deadLettersLength: 1,
    deadLetters: [aLetter('invalid')],
    ...holdings,
  }
  return equationsOf(tally, held)
    .filter((equation) => !isEven(equation))
    .map((equation) => equationText(equation))
}

/** Two that were acked, and one dead letter. */
function aTally(): Tally {
  const tally = new Tally()
  for (const fate of ['acked', 'acked', 'invalid'] as const) tally.addPublished(aKind(fate))
  tally.poller.add({ ...aReport(), read: 3, acked: 2, deadLettered: 1 })
  return tally
}

function aKind(fate: Kind['fate']): Kind {
  return KINDS.find((kind) => kind.fate === fate) as Kind
}

function aLetter(reason: Kind['fate']) {
  return { id: '2-0', fields: [['reason', reason]] as const }
}

function aReport(): Report {
  return Object.fromEntries(COUNTS.map((name) => [name, 0])) as unknown as Report
}
