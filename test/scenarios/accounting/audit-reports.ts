import type { ConsumerReport } from 'millrace'
import type { Books } from './books.ts'
import type { Ledger } from './ledger.ts'
import { sum } from './ledger.ts'
import { partsOf } from './views.ts'

/** Numbers that an invocation's report adds up over its consumers. */
const ADDED = [
  'read',
  'claimed',
  'acked',
  'ackMissed',
  'duplicates',
  'ignored',
  'parked',
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
  'roundTrips',
] as const satisfies readonly (keyof ConsumerReport)[]

/** Promise 13, of each report; and what its members say of each other. */
export function auditReports(books: Books, ledger: Ledger): void {
  for (const { requestId, report } of books.invocations)
    for (const name of ADDED)
      ledger.equal(`${requestId}: ${name}`, report[name], sum(report.consumers.map((consumer) => consumer[name])))

  for (const { requestId, group, report, troubles } of partsOf(books)) {
    const { read, claimed, acked, ignored, retried, deadLettered, parked, released, superseded, unsettled } = report
    const what = `${requestId} ${group}`
    const settled = acked + ignored + retried + deadLettered + parked + released + superseded + unsettled
    ledger.equal(`${what}: settled`, settled, read + claimed)
    ledger.atMost(`${what}: ackMissed`, report.ackMissed, acked)
    ledger.atMost(`${what}: failed`, report.failed, report.invoked)
    // nothing is ignored, and only duplicates wait
    ledger.equal(`${what}: ignored and unguarded`, ignored + report.unguarded, 0)
    const isOrdered = books.ordered.includes(group)
    if (!books.once && !isOrdered) ledger.equal(`${what}: duplicates and parked`, report.duplicates + parked, 0)
    ledger.atMost(`${what}: waiting`, report.waiting ?? 0, isOrdered ? parked : 0)
    const withoutCall = acked - (report.invoked - report.failed)
    if (troubles.size === 0) ledger.atMost(`${what}: acked without a call`, withoutCall, report.duplicates)
    // what was handed back for want of capacity was released, or others had it by then
    ledger.atMost(`${what}: throttled`, report.throttled, released + superseded + unsettled)
    // a handler that overran has failed
    ledger.atMost(`${what}: overran`, report.overran, report.failed)
    ledger.equal(`${what}: deadLettersTrimmed, where all are kept`, report.deadLettersTrimmed, 0)
    if (report.noFreeSlot) ledger.equal(`${what}: taken without a slot`, read + claimed, 0)
  }
}
