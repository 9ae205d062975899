import { compareEntryIds } from '../../../src/core/entry.ts'
import type { Books, Visit } from './books.ts'
import type { Ledger } from './ledger.ts'
import { keyOf } from './ordering.ts'
import { partsOf, visitsOf } from './views.ts'

/** Where order is kept: no event of a key starts while one before it, which was called then and is called later, had yet to succeed. */
export function auditOrder(books: Books, ledger: Ledger): void {
  for (const group of books.ordered) {
    const visits = visitsOf(books, group)
    for (const [key, ofKey] of Map.groupBy(visits, ({ eventId }) => keyOf(eventId))) auditKey(ledger, group, key, ofKey)
    const waited = partsOf(books).some((part) => part.group === group && (part.report.waiting ?? 0) > 0)
    ledger.equal(`${group}: something waited`, String(waited), 'true')
  }
}

function auditKey(ledger: Ledger, group: string, key: string, visits: readonly Visit[]): void {
  for (const [n, visit] of visits.entries()) {
    const early = visits
      .slice(n + 1)
      .find((later) => isBefore(later, visit) && !hasSucceeded(visits.slice(0, n), later))
    if (early)
      ledger.none(`${group}: started before its turn`, [
        `${visit.entryId} of ${key} by ${visit.requestId}, before ${early.entryId}, which ${early.requestId} called later`,
      ])
  }
}

/** Of the same life: after a redrive, or once its group was made again, an entry is called again. */
function isBefore(one: Visit, other: Visit): boolean {
  return one.life === other.life && compareEntryIds(one.entryId, other.entryId) < 0
}

function hasSucceeded(visits: readonly Visit[], { entryId, life }: Visit): boolean {
  return visits.some((visit) => visit.entryId === entryId && visit.life === life && visit.ending === 'succeeded')
}
