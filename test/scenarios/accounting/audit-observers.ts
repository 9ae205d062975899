import type { Books } from './books.ts'
import type { Ledger } from './ledger.ts'
import { sum } from './ledger.ts'
import { hasFailed, isSkipped, outcomeOf, partsOf, toldOf, toldOfParts } from './views.ts'

/** What observers learned about each invocation is what its report says, and what handlers and `onDeadLetter` noted. */
export function auditObservers(books: Books, ledger: Ledger): void {
  auditInvocations(books, ledger)
  auditParts(books, ledger)
  auditHandlers(books, ledger)
  auditNotices(books, ledger)
}

function auditInvocations(books: Books, ledger: Ledger): void {
  const requestIds = books.invocations.map(({ requestId }) => requestId)
  const ended = toldOf(books, 'invocationEnded')
  const started = toldOf(books, 'invocationStarted').map(({ context }) => String(context.awsRequestId))
  ledger.same('invocations that started', started, requestIds)
  ledger.same(
    'invocations that ended',
    ended.map(({ invocation }) => String(invocation.context.awsRequestId)),
    requestIds,
  )
  for (const { requestId, report, failedFor } of books.invocations) {
    const told = ended.find(({ invocation }) => invocation.context.awsRequestId === requestId)
    ledger.equal(`${requestId}: report that was told`, JSON.stringify(told?.report), JSON.stringify(report))
    ledger.equal(`${requestId}: error that was told`, String(Boolean(told?.error)), String(failedFor.length > 0))
  }
}

function auditParts(books: Books, ledger: Ledger): void {
  const toldOfPart = toldOfParts(books)
  for (const part of partsOf(books)) {
    const { report } = part
    const told = toldOfPart(part)
    const what = `${part.requestId} ${part.group}`
    const outcomes = told.ended.flatMap((one) => one.outcomes.map(({ kind }) => kind))
    const count = (...kinds: string[]) => outcomes.filter((kind) => kinds.includes(kind)).length
    const skipped = told.acked.flatMap(({ entries }) => entries.filter(isSkipped)).length
    const acked = report.acked - skipped
    ledger.equal(`${what}: entriesRead`, sum(told.read.map(({ entryIds }) => entryIds.length)), report.read)
    ledger.equal(`${what}: entriesClaimed`, sum(told.claimed.map(({ entries }) => entries.length)), report.claimed)
    ledger.equal(`${what}: batches`, told.read.length + told.claimed.length, report.batches)
    ledger.equal(
      `${what}: deliveries of handlerEnded`,
      sum(told.ended.map(({ call }) => call.deliveries.length)),
      report.invoked,
    )
    ledger.equal(`${what}: outcomes of handlerEnded`, outcomes.length, report.invoked)
    ledger.equal(`${what}: failed outcomes of handlerEnded`, count('retry', 'dead-letter'), report.failed)
    ledger.equal(`${what}: acked`, sum(told.acked.map(({ entries }) => entries.length)), report.acked)
    ledger.equal(`${what}: deadLettered`, told.deadLettered.length, report.deadLettered)
    // an outcome that a handler asked for and that was not written was refused or got no answer
    const unwritten = report.superseded + report.unsettled
    ledger.atMost(`${what}: duplicates without a call`, skipped, report.duplicates)
    ledger.atMost(`${what}: acked of handlerEnded`, acked, count('ack'))
    ledger.atMost(`${what}: retried of handlerEnded`, report.retried, count('retry'))
    ledger.atMost(`${what}: asked for and not written`, count('ack', 'retry') - acked - report.retried, unwritten)
    if (part.troubles.size === 0) {
      // nothing was done to it: what a handler asked for is written, but for dead letters that were refused, and what was trimmed
      ledger.equal(`${what}: ackMissed`, report.ackMissed, 0)
      ledger.equal(`${what}: acked, undisturbed`, acked, count('ack'))
      ledger.equal(`${what}: duplicates, undisturbed`, report.duplicates, skipped)
      ledger.equal(`${what}: unsettled, undisturbed`, report.unsettled, told.refused.length)
      ledger.atMost(`${what}: superseded, undisturbed`, report.superseded, report.lost)
      ledger.atMost(
        `${what}: retries that were not written, undisturbed`,
        count('retry') - report.retried,
        report.superseded,
      )
    }
    // the others of a route that is not available are handed back without a call
    ledger.atMost(`${what}: release of handlerEnded`, count('release'), report.throttled)
    ledger.atMost(`${what}: deadLetterRefused`, told.refused.length, report.unsettled)
    ledger.none(
      `${what}: acked without a type`,
      told.acked.flatMap(({ entries }) =>
        entries.filter(({ eventType }) => eventType === '').map((one) => one.entryId),
      ),
    )
  }
}

/** Deliveries as handlers noted them, and as observers were notified of them. */
function auditHandlers(books: Books, ledger: Ledger): void {
  auditAcked(books, ledger)
  const noted = books.visits
    .filter(({ requestId }) => !books.killed.includes(requestId))
    .map((visit) => {
      const { requestId, group, eventType, entryId, deliveryCount } = visit
      return [requestId, group, eventType, entryId, deliveryCount, outcomeOf(visit, books.maxDeliveries)].join(' ')
    })
  const told = toldOf(books, 'handlerEnded').flatMap(
    ({ call: { invocation, group, eventType, deliveries }, outcomes }) =>
      deliveries.map(({ entryId, deliveryCount }, n) =>
        [invocation.context.awsRequestId, group, eventType, entryId, deliveryCount, outcomes[n]?.kind].join(' '),
      ),
  )
  ledger.same('deliveries that observers were notified of', told, noted)

  for (const { requestId, group, report } of partsOf(books)) {
    const visits = books.visits.filter((visit) => visit.requestId === requestId && visit.group === group)
    ledger.equal(`${requestId} ${group}: invoked`, report.invoked, visits.length)
    ledger.equal(`${requestId} ${group}: failed`, report.failed, visits.filter(hasFailed).length)
    ledger.equal(
      `${requestId} ${group}: overran`,
      report.overran,
      visits.filter(({ ending }) => ending === 'open').length,
    )
  }
}

/** What was acked was handled there, and what was acked as a duplicate was not. */
function auditAcked(books: Books, ledger: Ledger): void {
  const name = (requestId: unknown, group: string, entryId: string) => `${String(requestId)} ${group} ${entryId}`
  const succeeded = new Set(
    books.visits
      .filter(({ ending }) => ending === 'succeeded')
      .map(({ requestId, group, entryId }) => name(requestId, group, entryId)),
  )
  const wrong = toldOf(books, 'acked').flatMap(({ invocation, group, entries }) =>
    entries
      .map((entry) => ({ ...entry, name: name(invocation.context.awsRequestId, group, entry.entryId) }))
      .filter((entry) => succeeded.has(entry.name) === isSkipped(entry)),
  )
  ledger.none(
    'acked without a success, or as a duplicate after one',
    wrong.map((one) => one.name),
  )
}

function auditNotices(books: Books, ledger: Ledger): void {
  for (const [group, { called, failed }] of Object.entries(books.notices)) {
    const told = toldOf(books, 'deadLettered').filter(({ notice }) => notice.group === group)
    ledger.equal(`${group}: calls of onDeadLetter`, called, told.length)
    const toldOfFailures = toldOf(books, 'deadLetterNoticeFailed').filter(({ notice }) => notice.group === group)
    ledger.equal(`${group}: deadLetterNoticeFailed`, toldOfFailures.length, failed)
  }
}
