import type { Books, Visit } from './books.ts'
import type { Ledger } from './ledger.ts'
import { countBy, sum, without } from './ledger.ts'
import type { Part } from './views.ts'
import { buriedIn, cutParts, deliveredTo, hidden, partsOf, toldOf, toldOfParts, visitsOf } from './views.ts'

/** What the server has in the end is what reports, observers and handlers say. */
export function auditServer(books: Books, ledger: Ledger): void {
  auditStream(books, ledger)
  for (const group of books.groups) {
    auditEnd(books, ledger, group)
    auditLetters(books, ledger, group)
    if (!books.once) auditFates(books, ledger, group)
    auditVisits(books, ledger, group)
    auditBalance(books, ledger, group)
  }
}

/** The stream has what publishers got ids for, and what was sent twice, since a reply was lost. */
function auditStream({ publishings, foreign, trimmed, stream, eventIds }: Books, ledger: Ledger): void {
  const written = [...stream, ...trimmed.map(({ entryId }) => entryId)]
  const told = [...publishings.flatMap(({ entryIds }) => entryIds.filter((id) => id !== undefined)), ...foreign]
  ledger.none('published, and never in the stream', without(told, written))
  const misnamed = publishings.flatMap((publishing) =>
    publishing.entryIds.filter((id, n) => id !== undefined && eventIds.get(id) !== publishing.eventIds[n]),
  )
  ledger.none('in the stream under another event id', misnamed)
  const mayBeTwice = sum(publishings.filter(({ isCut }) => isCut).map(({ types }) => types.length))
  ledger.atMost('in the stream, and nobody was notified of it', without(written, told).length, mayBeTwice)
}

function auditEnd({ holdings, stream }: Books, ledger: Ledger, group: string): void {
  const { pending = [], lastDeliveredId } = holdings[group] ?? {}
  ledger.none(`${group}: pending in the end`, pending)
  ledger.equal(`${group}: last entry that was read`, lastDeliveredId, stream.at(-1))
}

/** Dead letters: the server's, with those that operators took, are those that observers were notified of. */
function auditLetters(books: Books, ledger: Ledger, group: string): void {
  const told = toldOf(books, 'deadLettered').filter(({ notice }) => notice.group === group)
  const operated = books.operated.filter((one) => one.group === group)
  const left = books.holdings[group]?.letters ?? []
  const written = [...left, ...operated.map(({ letter }) => letter)].map(nameOf)
  const toldOfThem = told.map(({ notice }) => nameOf(notice))
  ledger.none(`${group}: dead letters that were reported and never written`, without(toldOfThem, written))
  const untold = without(written, toldOfThem)
  // a script whose reply was lost is sent again, and finds nothing to do
  ledger.atMost(
    `${group}: dead letters that nobody was notified of`,
    untold.length,
    sum(cutParts(books, group).map(hidden)),
  )
  const parts = partsOf(books).filter((part) => part.group === group)
  const deadLettered = sum(parts.map(({ report }) => report.deadLettered))
  ledger.equal(`${group}: dead letters left`, left.length, deadLettered + untold.length - operated.length)
  const all = [...left, ...operated.map(({ letter }) => letter)]
  ledger.equal(`${group}: ids of dead letters`, new Set(all.map(({ id }) => id)).size, all.length)
  for (const [entryId, letters] of countBy(all.map((letter) => letter.entryId)))
    ledger.atMost(`${group}: dead letters of ${entryId}`, letters, livesOf(books, group, entryId))
  for (const [life, letters] of countBy(told.map((letter) => `${letter.notice.entryId} ${letter.life}`)))
    ledger.atMost(`${group}: dead letters of ${life}`, letters, 1)
}

/** How often an entry's deliveries began to count. */
function livesOf({ operated, lostGroups }: Books, group: string, entryId: string): number {
  const redriven = operated.filter((one) => {
    return one.group === group && one.outcome === 'redriven' && one.letter.entryId === entryId
  })
  const again = lostGroups.filter((lost) => lost.group === group && lost.comeAgain.includes(entryId))
  return 1 + redriven.length + again.length
}

/** Entries that were neither handled nor are dead letters. */
function missingIn(books: Books, group: string): readonly string[] {
  const buried = buriedIn(books, group)
  const handled = visitsOf(books, group).filter(({ ending }) => ending === 'succeeded')
  const known = new Set([...buried, ...handled.map(({ entryId }) => entryId)])
  return deliveredTo(books, group).filter((entryId) => !known.has(entryId))
}

/** Every entry was handled, or is a dead letter, or was counted as lost. */
function auditFates(books: Books, ledger: Ledger, group: string): void {
  const missing = missingIn(books, group)
  const trimmed = books.trimmed.filter(({ pendingIn }) => pendingIn.includes(group)).map(({ entryId }) => entryId)
  const lost = lostIn(books, group)
  ledger.none(`${group}: entries that are gone`, without(missing, trimmed))
  // what is trimmed while it waits behind another of its key is not counted
  if (books.ordered.includes(group)) ledger.atMost(`${group}: lost`, lost, missing.length)
  else ledger.equal(`${group}: lost`, lost, missing.length)
}

function lostIn(books: Books, group: string): number {
  return sum(partsOf(books).map((part) => (part.group === group ? part.report.lost : 0)))
}

/** In a life of an entry: at most so many deliveries, each called once, none after a success unless its ack could not be known. */
function auditVisits(books: Books, ledger: Ledger, group: string): void {
  const parts = new Map(partsOf(books).map((part) => [`${part.requestId} ${part.group}`, part]))
  for (const [life, visits] of Map.groupBy(visitsOf(books, group), (visit) => `${visit.entryId} ${visit.life}`)) {
    // what was handed back for want of capacity has its delivery back
    const deliveries = visits.filter(({ ending }) => ending !== 'unavailable').map(({ deliveryCount }) => deliveryCount)
    ledger.atMost(`${group}: deliveries of ${life}`, Math.max(0, ...deliveries), books.maxDeliveries)
    ledger.equal(`${group}: calls of ${life} with a delivery of their own`, new Set(deliveries).size, deliveries.length)
    for (const [n, visit] of visits.entries()) {
      const next = visits[n + 1]
      if (visit.ending !== 'succeeded' || !next || isExcused(books, visit, parts.get(`${visit.requestId} ${group}`)))
        continue
      ledger.none(`${group}: called again`, [`${life} by ${next.requestId}, after it succeeded in ${visit.requestId}`])
    }
  }
  auditLostGroups(books, ledger, group)
}

/** What comes again after a group was lost is what lies above its mark, and what was set aside below it; all that was pending does. */
function auditLostGroups(books: Books, ledger: Ledger, group: string): void {
  const lostGroups = books.lostGroups.filter((lost) => lost.group === group)
  const lives = visitsOf(books, group).map(({ entryId, life }) => ({ entryId, lost: Number(life.split('.')[0]), life }))
  ledger.equal(`${group}: how often it was lost`, Math.max(...lives.map(({ lost }) => lost)), lostGroups.length)
  for (const [n, { mark, pending, kept, comeAgain }] of lostGroups.entries()) {
    ledger.none(`${group}: pending below the mark`, without(pending, comeAgain))
    const before = new Set(
      lives.filter(({ lost }) => lost === n).map(({ entryId, life }) => `${entryId} ${redrivesIn(life)}`),
    )
    const again = lives.filter(
      ({ entryId, life, lost }) => lost === n + 1 && before.has(`${entryId} ${redrivesIn(life)}`),
    )
    const early = again.filter(({ entryId }) => !comeAgain.includes(entryId) && !kept.includes(entryId))
    ledger.none(
      `${group}: called again, though not above mark ${mark}`,
      early.map(({ entryId }) => entryId),
    )
  }
}

const redrivesIn = (life: string): string => life.split('.')[1] ?? ''

/** Its process died before the ack, or its connection before the reply, or another had claimed the entry by then. */
function isExcused({ killed }: Books, { requestId }: Visit, part: Part | undefined): boolean {
  if (!part) return killed.includes(requestId)
  return part.troubles.has('robbed') || (part.troubles.has('cut') && part.report.unsettled > 0)
}

/**
 * What a group was given is what it got rid of. Every entry that it read is acked, a dead letter, or lost, once; what was redriven, and what
 * came again after the group was lost, is once more.
 */
function auditBalance(books: Books, ledger: Ledger, group: string): void {
  const parts = partsOf(books).filter((part) => part.group === group)
  const operated = books.operated.filter((one) => one.group === group)
  const lostGroups = books.lostGroups.filter((lost) => lost.group === group)
  const redriven = operated.filter(({ outcome }) => outcome === 'redriven').length
  const given = deliveredTo(books, group).length + redriven + sum(lostGroups.map(({ comeAgain }) => comeAgain.length))
  const letters = (books.holdings[group]?.letters.length ?? 0) + operated.length
  const dropped = sum(lostGroups.map(({ pending }) => pending.length))
  const lost = books.ordered.includes(group) ? missingIn(books, group).length : lostIn(books, group)
  const acked = sum(parts.map(({ report }) => report.acked - report.ackMissed))
  // an XACK whose reply was lost is sent again, and finds nothing pending, or nobody sends it again
  const toldOfPart = toldOfParts(books)
  const unanswered = sum(
    cutParts(books, group).map((part) => {
      if (books.once) return hidden(part)
      const outcomes = toldOfPart(part).ended.flatMap((ended) => ended.outcomes)
      return part.report.ackMissed + outcomes.filter(({ kind }) => kind === 'ack').length - part.report.acked
    }),
  )
  const untold = given - letters - dropped - lost - acked
  ledger.atMost(`${group}: acks that there was nothing for`, -untold, books.once ? ackedTwice(books, group) : 0)
  ledger.atMost(`${group}: acks that nobody was notified of`, untold, unanswered)
}

/**
 * How often somebody who was robbed, or whose group was lost, acknowledged what another did by then. XACK answers so; who finds a marker that names the entry
 * itself takes it for an acknowledgement of its own, which was sent again.
 */
function ackedTwice(books: Books, group: string): number {
  const late = new Set(
    partsOf(books).flatMap(({ requestId, troubles }) =>
      troubles.has('robbed') || troubles.has('orphaned') ? [requestId] : [],
    ),
  )
  const acked = toldOf(books, 'acked').flatMap((one) =>
    one.group === group && late.has(String(one.invocation.context.awsRequestId)) ? one.entries : [],
  )
  return acked.length - new Set(acked.map(({ entryId }) => entryId)).size
}

function nameOf({ entryId, reason }: { readonly entryId: string; readonly reason: string }): string {
  return `${entryId} ${reason}`
}
