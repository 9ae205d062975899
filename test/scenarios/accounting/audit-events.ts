import type { Books, Visit } from './books.ts'
import type { Ledger } from './ledger.ts'
import { countBy, sum } from './ledger.ts'
import type { Part } from './views.ts'
import { buriedIn, cutParts, deliveredTo, hidden, isSkipped, partsOf, toldOf, visitsOf } from './views.ts'

/**
 * Where consumers are `idempotent`: an event was handled once, and its other entries are duplicates; or each of its entries is a dead letter, or was counted
 * as lost.
 */
export function auditEvents(books: Books, ledger: Ledger): void {
  if (books.once) for (const group of books.groups) auditGroup(books, ledger, group)
}

function auditGroup(books: Books, ledger: Ledger, group: string): void {
  const { eventIds } = books
  const visits = visitsOf(books, group)
  ledger.none(
    `${group}: handled under another event id`,
    visits.filter((visit) => visit.eventId !== eventIds.get(visit.entryId)).map(({ entryId }) => entryId),
  )
  const handled = new Set(visits.filter(({ ending }) => ending === 'succeeded').map(({ eventId }) => eventId))
  const acked = toldOf(books, 'acked').flatMap((one) => (one.group === group ? one.entries : []))
  const skipped = acked.filter(isSkipped).map(({ entryId }) => entryId)
  const isHandled = (entryId: string) => handled.has(eventIds.get(entryId) ?? '')
  ledger.none(
    `${group}: duplicates of what was never handled`,
    skipped.filter((entryId) => !isHandled(entryId)),
  )
  const told = new Set([...buriedIn(books, group), ...acked.map(({ entryId }) => entryId)])
  auditUntold(books, ledger, group, Map.groupBy(untoldOf(books, group, told), isHandled))
  auditRepeats(books, ledger, group)
}

/** Entries of which nobody was notified what became of them. */
function untoldOf(books: Books, group: string, told: ReadonlySet<string>): string[] {
  return deliveredTo(books, group).filter((entryId) => !told.has(entryId))
}

/** Those were lost; where their event was handled, a reply may have been. */
function auditUntold(
  books: Books,
  ledger: Ledger,
  group: string,
  untold: ReadonlyMap<boolean, readonly string[]>,
): void {
  const [missing, silent] = [untold.get(false) ?? [], untold.get(true) ?? []]
  const trimmed = new Set(
    books.trimmed.flatMap(({ entryId, pendingIn }) => (pendingIn.includes(group) ? [entryId] : [])),
  )
  const lost = sum(partsOf(books).map((part) => (part.group === group ? part.report.lost : 0)))
  ledger.none(
    `${group}: entries that are gone`,
    missing.filter((entryId) => !trimmed.has(entryId)),
  )
  ledger.atMost(`${group}: lost, at least`, missing.length, lost)
  ledger.atMost(`${group}: lost`, lost, missing.length + silent.filter((entryId) => trimmed.has(entryId)).length)
  ledger.atMost(
    `${group}: acks of entries that nobody was notified of`,
    silent.length - (lost - missing.length),
    sum(cutParts(books, group).map(hidden)),
  )
}

/** No handler is called for any entry of an event after it succeeded for one, unless that could not be stored. A lost group is no excuse. */
function auditRepeats(books: Books, ledger: Ledger, group: string): void {
  const parts = new Map(partsOf(books).map((part) => [`${part.requestId} ${part.group}`, part]))
  const acked = toldOf(books, 'acked').flatMap(({ invocation, entries, ...one }) =>
    one.group === group
      ? entries.flatMap((entry) => (isSkipped(entry) ? [] : [[String(invocation.context.awsRequestId), entry.entryId]]))
      : [],
  )
  const acks = countBy(acked.map((one) => one.join(' ')))
  const acksOfEntry = countBy(acked.map(([, entryId]) => entryId))
  for (const [eventId, visits] of Map.groupBy(visitsOf(books, group), (visit) => visit.eventId))
    for (const [n, visit] of visits.entries()) {
      const next = visits[n + 1]
      const { requestId, entryId, ending } = visit
      if (!next || ending !== 'succeeded') continue
      // one run may read an entry again once its group was made again: the last of its calls are those that were stored
      const again = visits
        .slice(n)
        .filter((other) => other.ending === ending && other.requestId === requestId && other.entryId === entryId)
      const isAcked = again.length <= (acks.get(`${requestId} ${entryId}`) ?? 0)
      // of two that say so, one found the marker of the other, which names the same entry
      const isStored = isAcked && acksOfEntry.get(entryId) === 1
      if (isExcused(books, visit, parts.get(`${requestId} ${group}`), isStored)) continue
      ledger.none(`${group}: called again for an event`, [`${eventId} by ${next.requestId}, handled in ${requestId}`])
    }
}

/** Its process died before the ack, its connection or its group before the reply, or another had claimed the entry by then. */
function isExcused({ killed }: Books, { requestId }: Visit, part: Part | undefined, isStored: boolean): boolean {
  if (!part) return killed.includes(requestId)
  return part.troubles.has('robbed') || (!isStored && (part.troubles.has('cut') || part.troubles.has('orphaned')))
}
