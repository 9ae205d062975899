import type { Consumer } from 'millrace'
import type { Equation, Term } from '../equation.ts'
import type { Kind } from './generator.ts'
import { KINDS } from './generator.ts'
import type { DeadLetter, Observer } from './observer.ts'
import type { Tally } from './tally.ts'

/** What the server holds in the end. */
export interface Holdings {
  readonly length: number
  readonly backlog: number
  readonly pending: number
  readonly deadLettersLength: number
  readonly deadLetters: readonly DeadLetter[]
}

export async function readHoldings(observer: Observer, consumer: Consumer): Promise<Holdings> {
  const { length, backlog, pending } = await observer.gauges(consumer)
  return {
    length,
    backlog,
    pending,
    deadLettersLength: await observer.length(consumer.keys.deadLetters),
    deadLetters: await observer.deadLetters(consumer),
  }
}

/** Everything that must add up, between what was published, what the reports say, and what Redis holds. */
export function equationsOf(tally: Tally, holdings: Holdings): Equation[] {
  const { counts, poller, claimer } = tally
  const published: Term = ['published', tally.publishedCount()]
  const deadLettered: Term = ['dead-lettered', counts.deadLettered]
  return [
    { left: [published], right: [['acked', counts.acked - counts.ackMissed], deadLettered] },
    { left: [published], right: [['read', counts.read]] },
    {
      left: [
        ['read', counts.read],
        ['claimed', counts.claimed],
      ],
      right: [
        ['acked', counts.acked],
        ['retried', counts.retried],
        deadLettered,
        ['released', counts.released],
        ['superseded', counts.superseded],
        ['unsettled', counts.unsettled],
      ],
    },
    { left: [['reports that do not add up', poller.uneven + claimer.uneven]], right: NONE },
    { left: [['failed invocations', tally.failures.length]], right: NONE },
    { left: [['entries lost', counts.lost]], right: NONE },
    { left: [['XLEN stream', holdings.length]], right: [published] },
    { left: [['XPENDING', holdings.pending]], right: NONE },
    { left: [['backlog', holdings.backlog]], right: NONE },
    { left: [['XLEN dead letters', holdings.deadLettersLength]], right: [deadLettered] },
    ...reasonsOf(holdings.deadLetters, KINDS).map(
      (reason): Equation => ({
        left: [
          [`dead letters, ${reason}`, holdings.deadLetters.filter((letter) => reasonOf(letter) === reason).length],
        ],
        right: [['meant', tally.publishedCount(reason)]],
      }),
    ),
  ]
}

const NONE: readonly Term[] = [['', 0]]

export function reasonOf({ fields }: DeadLetter): string {
  return fields.find(([name]) => name === 'reason')?.[1] ?? ''
}

/** Those that were meant, and those that turned up. */
function reasonsOf(deadLetters: readonly DeadLetter[], kinds: readonly Kind[]): Kind['fate'][] {
  const meant = kinds.map(({ fate }) => fate).filter((fate) => fate !== 'acked')
  return [...new Set([...meant, ...deadLetters.map((letter) => reasonOf(letter) as Kind['fate'])])]
}
