import type { ConsumerReport } from 'millrace'
import type { Books } from './books.ts'
import type { CloudWatch } from './cloud-watch.ts'
import { ingest } from './cloud-watch.ts'
import type { Ledger } from './ledger.ts'
import { countBy, sum } from './ledger.ts'
import { hasFailed, isSkipped, partsOf, toldOf } from './views.ts'

/** Metrics of a group and the number of its report that each is the sum of. */
const COUNTED: Readonly<Record<string, (report: ConsumerReport) => number>> = {
  InvokedEventCount: ({ invoked }) => invoked,
  FailedInvokeEventCount: ({ failed }) => failed,
  ThrottledEventCount: ({ throttled }) => throttled,
  DeletedEventCount: ({ acked, ackMissed }) => acked - ackMissed,
  DuplicateEventCount: ({ duplicates }) => duplicates,
  ParkedEventCount: ({ parked }) => parked,
  WaitingEventCount: ({ waiting = 0 }) => waiting,
  RetriedEventCount: ({ retried }) => retried,
  ReleasedEventCount: ({ released }) => released,
  SupersededEventCount: ({ superseded }) => superseded,
  UnsettledEventCount: ({ unsettled }) => unsettled,
  OnFailureDestinationDeliveredEventCount: ({ deadLettered }) => deadLettered,
  TrimmedDeadLetterCount: ({ deadLettersTrimmed }) => deadLettersTrimmed,
  GoneDeadLetterCount: ({ deadLettersGone = 0 }) => deadLettersGone,
  LostEventCount: ({ lost }) => lost,
  OverranEventCount: ({ overran }) => overran,
}

/** A line has no more values of a metric than that; of more it has quantiles. */
const MOST_VALUES = 99

const DELIVERED = 'OnFailureDestinationDeliveredEventCount'
const REFUSED = 'OnFailureDestinationDeliveryErrorCount'

/** Metrics of what a claim measured, and the member of its report's backlog. */
const MEASURED = {
  pending: 'PendingEntries',
  parked: 'ParkedEntries',
  waiting: 'WaitingEntries',
  lag: 'Lag',
  streamLength: 'StreamLength',
  deadLetters: 'DeadLetterLength',
  deadLettersPercent: 'DeadLetterUsagePercentage',
  oldestPendingMs: 'OldestPendingAge',
  sinceLastSuccessMs: 'TimeSinceLastSuccess',
} as const

/** What CloudWatch has of each group is the sum of its reports; by event type and by reason it is what handlers and observers know. */
export function auditMetrics(books: Books, ledger: Ledger): void {
  const watch = ingest(books.lines, 'Millrace')
  for (const group of books.groups) {
    const dimensions = { service: books.service, EventSource: 'orders', ConsumerGroup: group }
    auditGroup(books, ledger, group, watch, dimensions)
    auditBacklogs(books, ledger, group, watch, dimensions)
    auditTypes(books, ledger, group, watch, dimensions)
    auditLetters(books, ledger, group, watch, dimensions)
  }
  auditMeasurements(books, ledger)
}

type Audit = (...args: [Books, Ledger, group: string, CloudWatch, dimensions: Record<string, string>]) => void

const auditGroup: Audit = (books, ledger, group, watch, dimensions) => {
  const parts = partsOf(books).filter((part) => part.group === group)
  const visits = books.visits.filter((visit) => visit.group === group && !books.killed.includes(visit.requestId))
  const calls = toldOf(books, 'handlerEnded').filter(({ call }) => call.group === group)
  const metric = (name: string) => watch.sum(name, dimensions)
  for (const [name, numberOf] of Object.entries(COUNTED))
    ledger.equal(`${group}: ${name}`, metric(name), sum(parts.map(({ report }) => numberOf(report))))
  const read = sum(parts.map(({ report }) => report.read))
  // a poller that keeps order takes what is due as well, which is no claim
  const claimed = sum(parts.map(({ action, report }) => (action === 'claim' ? report.claimed : 0)))
  ledger.equal(`${group}: PolledEventCount`, metric('PolledEventCount'), read)
  ledger.equal(`${group}: ClaimedEventCount`, metric('ClaimedEventCount'), claimed)
  ledger.equal(`${group}: lines`, watch.values('InvokedEventCount', dimensions).length, parts.length)
  ledger.equal(
    `${group}: PollingErrorCount`,
    metric('PollingErrorCount'),
    parts.filter(({ isFailed }) => isFailed).length,
  )
  const acks = sum(calls.map(({ outcomes }) => outcomes.filter(({ kind }) => kind === 'ack').length))
  const skipped = toldOf(books, 'acked').flatMap((one) => (one.group === group ? one.entries.filter(isSkipped) : []))
  const acked = sum(parts.map(({ report }) => report.acked))
  ledger.equal(`${group}: CommitErrorCount`, metric('CommitErrorCount'), acks - (acked - skipped.length))

  const failedBatches = calls.filter(
    ({ call, outcomes }) => call.isBatch && outcomes.every(({ kind }) => kind === 'retry' || kind === 'dead-letter'),
  )
  ledger.equal(`${group}: InvokeErrorCount`, metric('InvokeErrorCount'), failedBatches.length)

  const spread = (name: string, countOf: (part: (typeof parts)[number]) => number) => {
    const expected = sum(parts.map((part) => Math.min(MOST_VALUES, countOf(part))))
    ledger.equal(`${group}: values of ${name}`, watch.values(name, dimensions).length, expected)
  }
  const callsOf = (requestId: string) => calls.filter(({ call }) => call.invocation.context.awsRequestId === requestId)
  spread('Duration', ({ requestId }) => callsOf(requestId).length)
  spread('PublishToAckAge', ({ report }) => report.acked)
  // what no handler was called for has none
  const handledOf = (requestId: string) =>
    toldOf(books, 'acked').flatMap((one) =>
      one.group === group && one.invocation.context.awsRequestId === requestId
        ? one.entries.filter((entry) => !isSkipped(entry))
        : [],
    )
  spread('AckLatency', ({ requestId }) => handledOf(requestId).length)
  spread('ClaimedAge', ({ report }) => report.claimed)
  spread('ClaimedIdle', ({ report }) => report.claimed)
  ledger.same(
    `${group}: IteratorAge`,
    watch.values('IteratorAge', dimensions),
    parts.flatMap(({ report }) => report.iteratorAgeMs ?? []),
  )
  ledger.same(
    `${group}: DeliveryCount`,
    watch.values('DeliveryCount', dimensions),
    visits.map(({ deliveryCount }) => deliveryCount),
  )
  const again = visits.filter(({ deliveryCount }) => deliveryCount > 1)
  const isAgain = (requestId: string, entryId: string) =>
    again.some((visit) => visit.requestId === requestId && visit.entryId === entryId)
  const ackedAgain = parts.flatMap(({ requestId }) =>
    handledOf(requestId).filter(({ entryId }) => isAgain(requestId, entryId)),
  )
  for (const [name, expected] of [
    ['RedeliveredInvokedEventCount', again.length],
    ['RedeliveredFailedInvokeEventCount', again.filter(hasFailed).length],
    ['RedeliveredDeletedEventCount', ackedAgain.length],
  ] as const)
    ledger.equal(`${group}: ${name}`, metric(name), expected)
  const byError = Object.values(watch.sumsBy('ErrorName', 'FailedInvokeEventCount', dimensions))
  ledger.equal(`${group}: failures of all names`, sum(byError), metric('FailedInvokeEventCount'))
  ledger.atMost(`${group}: deliveries of one line`, Math.max(...parts.map(({ report }) => report.invoked)), MOST_VALUES)
}

/** What every claim measured, as its report has it. */
const auditBacklogs: Audit = (books, ledger, group, watch, dimensions) => {
  const backlogs = partsOf(books).flatMap(({ report }) => (report.group === group ? (report.backlog ?? []) : []))
  for (const [member, name] of Object.entries(MEASURED))
    ledger.same(
      `${group}: ${name}`,
      watch.values(name, dimensions),
      backlogs.flatMap((backlog) => backlog[member as keyof typeof MEASURED] ?? []),
    )
}

const auditTypes: Audit = (books, ledger, group, watch, dimensions) => {
  const byType = (name: string) => watch.sumsBy('EventType', name, dimensions)
  const equal = (name: string, expected: ReadonlyMap<string, number>) =>
    ledger.same(`${group}: ${name} by EventType`, textsOf(byType(name)), textsOf(Object.fromEntries(expected)))
  const visits = books.visits.filter((visit) => visit.group === group && !books.killed.includes(visit.requestId))
  equal('InvokedEventCount', countBy(visits.map(({ eventType }) => eventType)))
  equal('FailedInvokeEventCount', countBy(visits.filter(hasFailed).map(({ eventType }) => eventType)))
  const acked = toldOf(books, 'acked').filter((one) => one.group === group)
  // XACK answers how many were pending, not which: a type's own count has those that were not, too
  equal('DeletedEventCount', countBy(acked.flatMap(({ entries }) => entries.map(({ eventType }) => eventType))))
  const missed = sum(
    partsOf(books)
      .filter((part) => part.group === group)
      .map(({ report }) => report.ackMissed),
  )
  for (const [name, excess] of [
    ['InvokedEventCount', 0],
    ['FailedInvokeEventCount', 0],
    ['CommitErrorCount', 0],
    ['DeletedEventCount', missed],
  ] as const)
    ledger.equal(
      `${group}: ${name} of all types`,
      sum(Object.values(byType(name))),
      watch.sum(name, dimensions) + excess,
    )
}

const auditLetters: Audit = (books, ledger, group, watch, dimensions) => {
  for (const [name, event] of [
    [DELIVERED, 'deadLettered'],
    [REFUSED, 'deadLetterRefused'],
  ] as const) {
    const notices = toldOf(books, event).flatMap(({ notice }) => (notice.group === group ? [notice] : []))
    const byReason = countBy(notices.map(({ reason }) => reason as string))
    ledger.equal(`${group}: ${name}`, watch.sum(name, dimensions), notices.length)
    ledger.same(
      `${group}: ${name} by Reason`,
      textsOf(watch.sumsBy('Reason', name, dimensions)),
      textsOf(Object.fromEntries(byReason)),
    )
    // what could not be read names no type, nor does what died; a type without a route may be anything
    const types = notices.flatMap(({ reason, eventType }) => (eventType && reason !== 'unrouted' ? [eventType] : []))
    ledger.same(
      `${group}: ${name} by EventType`,
      textsOf(watch.sumsBy('EventType', name, dimensions)),
      textsOf(Object.fromEntries(countBy(types))),
    )
  }
}

/** What publishers' callers got: the ids, and how many had none. */
export function auditPublished({ publishings, lines, service, ...books }: Books, ledger: Ledger): void {
  const watch = ingest(lines, 'Millrace')
  const dimensions = { service, EventSource: 'orders' }
  const each = publishings.flatMap(({ types, entryIds }) => types.map((type, n) => ({ type, entryId: entryIds[n] })))
  for (const [name, counted] of [
    ['PublishedEventCount', each.filter(({ entryId }) => entryId !== undefined)],
    ['PublishErrorCount', each.filter(({ entryId }) => entryId === undefined)],
  ] as const) {
    ledger.equal(name, watch.sum(name, dimensions), counted.length)
    ledger.same(
      `${name} by EventType`,
      textsOf(watch.sumsBy('EventType', name, dimensions)),
      textsOf(Object.fromEntries(countBy(counted.map(({ type }) => type)))),
    )
  }
  const told = toldOf({ publishings, lines, service, ...books }, 'published')
  ledger.same(
    'published, as observers were told',
    told.map(({ call, entryIds }) => JSON.stringify([call.events.map(({ type }) => type), entryIds])),
    publishings.map(({ types, entryIds }) => JSON.stringify([types, entryIds])),
  )
  ledger.same(
    'PublishLatency',
    watch.values('PublishLatency', dimensions),
    told.flatMap(({ call, durationMs }) => [...new Set(call.events.map(({ type }) => type))].map(() => durationMs)),
  )
  ledger.equal(
    'values of PayloadBytes',
    watch.values('PayloadBytes', dimensions).length,
    sum(told.map(({ bytes }) => bytes.length)),
  )
}

/** What a claim measured is what the server says: Lag where it can be known, and no 0 in its place. */
function auditMeasurements({ measurements }: Books, ledger: Ledger): void {
  for (const [n, { group, reported, written, server, oldestPendingMs }] of measurements.entries()) {
    const what = `${group}: measurement ${n}`
    for (const [member, name] of Object.entries(MEASURED))
      ledger.equal(`${what}, ${name}`, written[name], reported[member])
    for (const [member, value] of Object.entries(server)) ledger.equal(`${what}, ${member}`, reported[member], value)
    const { oldestPendingMs: age = Number.NaN } = reported
    ledger.atMost(`${what}, oldestPendingMs`, age, oldestPendingMs[1])
    ledger.atMost(`${what}, oldestPendingMs and the least that it can be`, oldestPendingMs[0], age)
  }
}

/** Counts that are not 0, as texts to compare. */
function textsOf(counts: Readonly<Record<string, number>>): string[] {
  return Object.entries(counts).flatMap(([name, count]) => (count === 0 ? [] : [`${name} ${count}`]))
}
