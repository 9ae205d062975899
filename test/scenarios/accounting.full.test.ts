import { afterEach, describe, expect, it, vi } from 'vitest'
import { differencesIn } from './accounting/audit.ts'
import type { Books } from './accounting/books.ts'
import { keepBooks } from './accounting/chaos.ts'
import {
  calledEarly,
  FORGERIES,
  metricNames,
  missesEvent,
  missesMetric,
  ONCE_FORGERIES,
  reportsMore,
} from './accounting/forgeries.ts'
import { partsOf, toldOf } from './accounting/views.ts'

// Pollers and claimers of two groups on one stream, with everything done to them that can be. Whoever takes part keeps books of his own:
// callers of the reports, handlers of their calls, an observer of what it gets, CloudWatch of its lines, publishers of ids, operators of
// dead letters, the server of what is left. All of them have to agree.
//
// MILLRACE_ACCOUNTING_SEED=42 npx vitest run test/scenarios/accounting.full.test.ts    other orders, in another order
const SEED = Number(process.env.MILLRACE_ACCOUNTING_SEED ?? 1)
const PATIENCE_MS = 120_000

let kept: Promise<Books> | undefined
let keptOnce: Promise<Books> | undefined
let keptOrdered: Promise<Books> | undefined
/** Those of one run, whichever test asks first. */
const books = () => (kept ??= keepBooks(SEED))
/** Those of a run in which events are published more than once, and handled once. */
const booksOnce = () => (keptOnce ??= keepBooks(SEED, { once: true }))
/** Those of a run in which one of the groups keeps the order of keys. */
const booksOrdered = () => (keptOrdered ??= keepBooks(SEED, { ordered: true }))

afterEach(() => {
  vi.restoreAllMocks()
})

describe(`the books of a run with faults, seed ${SEED},`, { timeout: PATIENCE_MS }, () => {
  it('agree: reports, metrics, observers, handlers, publishers, operators, and the server', async () => {
    expect(differencesIn(await books())).toEqual([])
  })

  it('report every fault', async () => {
    const all = await books()
    const reports = partsOf(all).map(({ report }) => report)
    const counted = [
      'acked',
      'ackMissed',
      'retried',
      'released',
      'superseded',
      'unsettled',
      'throttled',
      'overran',
      'lost',
    ] as const
    const flags = ['noFreeSlot', 'groupRecreated'] as const
    const reasons = toldOf(all, 'deadLettered').map(({ notice }) => notice.reason)

    expect([...counted, ...flags].filter((member) => reports.every((report) => !report[member]))).toEqual([])
    expect([...new Set(reasons)].filter((reason) => reason !== 'crashed').sort()).toEqual([
      'invalid',
      'malformed',
      'max-deliveries',
      'non-retryable',
      'oversize',
      'unrouted',
    ])
    expect([all.killed.length, all.lostGroups.length]).toEqual([2, 1])
    expect([...new Set(all.operated.map(({ outcome }) => outcome))].sort()).toEqual(['dropped', 'redriven'])
    expect(all.invocations.some(({ failedFor }) => failedFor.length > 0)).toBe(true)
  })

  it.each([
    'invocationStarted',
    'invocationEnded',
    'entriesRead',
    'entriesClaimed',
    'handlerEnded',
    'acked',
    'deadLettered',
    'deadLetterRefused',
    'deadLetterNoticeFailed',
    'published',
  ] as const)('disagree where an observer is not notified of one %s', async (name) => {
    expect(differencesOf(missesEvent(name)(await books()))).not.toEqual([])
  })

  it('disagree where a line is without one of its metrics, whichever it is', async () => {
    const names = metricNames(await books())

    expect(names).toEqual(expect.arrayContaining(['DeletedEventCount', 'LostEventCount', 'PublishedEventCount', 'Lag']))
    for (const name of names) expect([name, differencesOf(missesMetric(name)(await books()))]).not.toEqual([name, []])
  })

  it.each([
    'read',
    'claimed',
    'acked',
    'ackMissed',
    'retried',
    'deadLettered',
    'released',
    'superseded',
    'unsettled',
    'lost',
    'deadLettersTrimmed',
    'invoked',
    'failed',
    'throttled',
    'overran',
    'batches',
  ] as const)('disagree where a report counts one too many as %s', async (member) => {
    expect(differencesOf(reportsMore(member)(await books()))).not.toEqual([])
  })

  it.each(Object.entries(FORGERIES))('disagree where %s', async (_what, forge) => {
    expect(differencesOf(forge(await books()))).not.toEqual([])
  })
})

describe(`the books of a run with faults and duplicates, seed ${SEED},`, { timeout: PATIENCE_MS }, () => {
  it('agree: each event was handled once, is a dead letter, or was lost', async () => {
    expect(differencesIn(await booksOnce())).toEqual([])
  })

  it('report what was acknowledged without a call, and what waited', async () => {
    const all = await booksOnce()
    const sum = (member: 'duplicates' | 'parked', group: string) =>
      partsOf(all).reduce((n, part) => (part.group === group ? n + part.report[member] : n), 0)

    for (const group of all.groups) {
      expect(sum('duplicates', group)).toBeGreaterThan(5)
      expect(sum('parked', group)).toBeGreaterThan(2)
    }
    expect([all.killed.length, all.lostGroups.length]).toEqual([2, 1])
    expect(metricNames(all)).toEqual(expect.arrayContaining(['DuplicateEventCount', 'ParkedEventCount']))
  })

  it.each(['DuplicateEventCount', 'ParkedEventCount', 'CommitErrorCount', 'DeletedEventCount'])(
    'disagree where a line is without %s',
    async (name) => {
      expect(differencesOf(missesMetric(name)(await booksOnce()))).not.toEqual([])
    },
  )

  it.each(['duplicates', 'parked', 'acked', 'lost', 'unguarded'] as const)(
    'disagree where a report counts one too many as %s',
    async (member) => {
      expect(differencesOf(reportsMore(member)(await booksOnce()))).not.toEqual([])
    },
  )

  it.each(Object.entries(ONCE_FORGERIES))('disagree where %s', async (_what, forge) => {
    expect(differencesOf(forge(await booksOnce()))).not.toEqual([])
  })
})

describe(`the books of a run with faults and a group in order, seed ${SEED},`, { timeout: PATIENCE_MS }, () => {
  it('agree: no event was called before its turn', async () => {
    expect(differencesIn(await booksOrdered())).toEqual([])
  })

  it('report what waited behind another of its key, and every fault', async () => {
    const all = await booksOrdered()
    const ofGroup = partsOf(all).filter(({ group }) => all.ordered.includes(group))
    const sum = (member: 'parked' | 'waiting' | 'retried' | 'deadLettered') =>
      ofGroup.reduce((n, { report }) => n + (report[member] ?? 0), 0)

    expect(sum('waiting')).toBeGreaterThan(20)
    expect(sum('parked')).toBeGreaterThanOrEqual(sum('waiting'))
    expect([sum('retried'), sum('deadLettered')].every((count) => count > 5)).toBe(true)
    expect([all.killed.length, all.lostGroups.length]).toEqual([2, 1])
    expect(ofGroup.some(({ troubles }) => troubles.has('cut'))).toBe(true)
    expect(metricNames(all)).toEqual(expect.arrayContaining(['WaitingEventCount']))
  })

  it.each(['parked', 'acked', 'released'] as const)(
    'disagree where a report counts one too many as %s',
    async (member) => {
      expect(differencesOf(reportsMore(member)(await booksOrdered()))).not.toEqual([])
    },
  )

  it('disagree where an event was called before one that was yet to succeed', async () => {
    expect(differencesOf(calledEarly(await booksOrdered()))).not.toEqual([])
  })
})

function differencesOf(forged: Books | undefined): readonly string[] {
  if (!forged) throw new Error('there is nothing of the kind in the books')
  return differencesIn(forged)
}
