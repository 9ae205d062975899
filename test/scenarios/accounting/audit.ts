import { auditEvents } from './audit-events.ts'
import { auditMetrics, auditPublished } from './audit-metrics.ts'
import { auditObservers } from './audit-observers.ts'
import { auditOrder } from './audit-order.ts'
import { auditReports } from './audit-reports.ts'
import { auditServer } from './audit-server.ts'
import type { Books } from './books.ts'
import { Ledger } from './ledger.ts'

const AUDITS: readonly ((books: Books, ledger: Ledger) => void)[] = [
  auditReports,
  auditObservers,
  auditMetrics,
  auditPublished,
  auditServer,
  auditEvents,
  auditOrder,
]

/** Where the books do not agree with each other; nothing if they do. */
export function differencesIn(books: Books): readonly string[] {
  const ledger = new Ledger()
  for (const audit of AUDITS) audit(books, ledger)
  return ledger.differences
}
