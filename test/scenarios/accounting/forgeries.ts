import type { ConsumerReport, Observed } from 'millrace'
import { compareEntryIds } from '../../../src/core/entry.ts'
import type { Books, Measurement, Publishing, Visit } from './books.ts'
import { keyOf } from './ordering.ts'

/** The books with something in them that did not happen, or without something that did; `undefined`: there is nothing of the kind. */
export type Forgery = (books: Books) => Books | undefined

/** Leaves out the one at that place. */
function without<T>(values: readonly T[], at: number): T[] | undefined {
  return at < 0 ? undefined : values.toSpliced(at, 1)
}

function twice<T>(values: readonly T[], at: number): T[] | undefined {
  return at < 0 ? undefined : values.toSpliced(at, 0, values[at] as T)
}

/** An observer is not notified of one event. */
export const missesEvent =
  (name: keyof Observed): Forgery =>
  (books) => {
    const told = without(
      books.told,
      books.told.findLastIndex((one) => one.name === name),
    )
    return told && { ...books, told }
  }

/** One line is without a metric, where that is not 0. */
export const missesMetric =
  (name: string): Forgery =>
  ({ lines, ...books }) => {
    const at = lines.findIndex((line) => [parsed(line)[name] ?? 0].flat().some(Boolean))
    if (at < 0) return undefined
    const { _aws, [name]: _metric, ...members } = parsed(lines[at] as string)
    const [directive] = _aws.CloudWatchMetrics
    const Metrics = directive?.Metrics.filter((metric) => metric.Name !== name)
    const line = JSON.stringify({ ...members, _aws: { ..._aws, CloudWatchMetrics: [{ ...directive, Metrics }] } })
    return { ...books, lines: lines.with(at, line) }
  }

/** A report, also the one that observers got, has one more of something. */
export const reportsMore =
  (member: keyof ConsumerReport): Forgery =>
  (books) => {
    const forged = structuredClone(books.invocations.at(-1)?.report) as unknown as {
      consumers: Record<string, number>[]
    } & Record<string, number>
    for (const report of [forged, forged.consumers[0]])
      if (report && typeof report[member] === 'number') report[member]++
    const report = forged as never
    const invocations = books.invocations.map((one, n, { length }) => (n < length - 1 ? one : { ...one, report }))
    const last = books.invocations.at(-1)?.requestId
    const told = books.told.map((one) =>
      one.name === 'invocationEnded' && one.observed.invocation.context.awsRequestId === last
        ? { ...one, observed: { ...one.observed, report } }
        : one,
    )
    return { ...books, invocations, told }
  }

const measures = (change: (measurement: Measurement) => Measurement | undefined): Forgery =>
  function forge(books) {
    const at = books.measurements.findIndex(change)
    if (at < 0) return undefined
    return {
      ...books,
      measurements: books.measurements.with(at, change(books.measurements[at] as Measurement) as Measurement),
    }
  }

const holds = (change: (held: Books['holdings'][string]) => Partial<Books['holdings'][string]>): Forgery =>
  function forge(books) {
    const { billing } = books.holdings
    return billing && { ...books, holdings: { ...books.holdings, billing: { ...billing, ...change(billing) } } }
  }

/** What else may be wrong, by what it is. */
export const FORGERIES: Readonly<Record<string, Forgery>> = {
  'a line of metrics is missing': (books) => ({ ...books, lines: books.lines.slice(1) }),
  'a line of metrics stands there twice': (books) => ({ ...books, lines: twice(books.lines, 0) as string[] }),
  'a report is missing': (books) => ({ ...books, invocations: books.invocations.slice(1) }),
  'a handler was called once more than it says': (books) => ({ ...books, visits: books.visits.slice(1) }),
  'a handler says once too often that it was called': (books) => ({ ...books, visits: twice(books.visits, 0) as [] }),
  'onDeadLetter was called twice for a letter': ({ notices, ...books }) => {
    const { search = { called: 0, failed: 0 } } = notices
    return { ...books, notices: { ...notices, search: { ...search, called: search.called + 1 } } }
  },
  'an entry is pending in the end': holds(() => ({ pending: ['1-1'] })),
  'an entry was not read': holds(() => ({ lastDeliveredId: '1-1' })),
  'a dead letter is gone': holds(({ letters }) => ({ letters: letters.slice(1) })),
  'a dead letter stands there twice': holds(({ letters }) => ({ letters: twice(letters, 0) as [] })),
  'a dead letter was redriven that was not': (books) => ({ ...books, operated: twice(books.operated, 0) as [] }),
  'a redrive was not noted': (books) => ({ ...books, operated: books.operated.slice(1) }),
  'an entry was published that is not there': (books) => ({ ...books, stream: books.stream.slice(1) }),
  'an entry is there that nobody handled': (books) => ({ ...books, stream: ['1-1', ...books.stream] }),
  'a publisher was notified of an entry more': ({ publishings, ...books }) => ({
    ...books,
    publishings: twice(publishings, 0) as [],
  }),
  'an entry was trimmed that was not counted as lost': (books) => ({ ...books, trimmed: books.trimmed.slice(1) }),
  'an entry was called again after it had been acked': (books) => {
    const at = books.visits.findIndex(
      ({ ending, requestId }) => ending === 'succeeded' && !books.killed.includes(requestId),
    )
    return { ...books, visits: twice(books.visits, at) as [] }
  },
  'entries that came again after the group was lost were not noted': (books) => ({ ...books, lostGroups: [] }),
  'Lag is 0 where the server does not know it': measures((measurement) => {
    const { reported, written, server } = measurement
    if (server.lag !== undefined) return undefined
    return { ...measurement, reported: { ...reported, lag: 0 }, written: { ...written, Lag: 0 } }
  }),
  'PendingEntries is not what XPENDING says': measures(({ written, ...measurement }) => {
    const { PendingEntries = 0 } = written
    return { ...measurement, written: { ...written, PendingEntries: PendingEntries + 1 } }
  }),
}

/** An event of a group in order was called before the one that goes before it had succeeded. */
export const calledEarly: Forgery = ({ visits, ordered, ...books }) => {
  const isNext = (one: Visit, other: Visit) =>
    one.group === other.group &&
    one.life === other.life &&
    keyOf(one.eventId) === keyOf(other.eventId) &&
    compareEntryIds(one.entryId, other.entryId) < 0
  for (const [n, visit] of visits.entries()) {
    if (!ordered.includes(visit.group) || visit.ending !== 'succeeded') continue
    const at = visits.findIndex((other, m) => m > n && isNext(visit, other))
    const next = visits[at]
    if (next) return { ...books, ordered, visits: visits.toSpliced(at, 1).toSpliced(n, 0, next) }
  }
  return undefined
}

/** What may be wrong where events are handled once. */
export const ONCE_FORGERIES: Readonly<Record<string, Forgery>> = {
  'an event was handled again as another entry': (books) => {
    const visit = acknowledged(books)
    return visit && { ...books, visits: [...books.visits, { ...visit, entryId: '1-1' }] }
  },
  'an event was handled again in another life of its group': (books) => {
    const visit = acknowledged(books)
    return visit && { ...books, visits: [...books.visits, { ...visit, life: '1.0' }] }
  },
  'a handler was called for another event': ({ visits, ...books }) => ({
    ...books,
    visits: visits.with(0, { ...(visits[0] as Visit), eventId: 'event-0' }),
  }),
  'a duplicate was acknowledged of what was never handled': (books) => {
    const [entryId] = skippedIn(books)
    const eventId = entryId && books.eventIds.get(entryId)
    if (!eventId) return undefined
    const visits = books.visits.map((visit) => {
      return visit.eventId === eventId && visit.ending === 'succeeded' ? { ...visit, ending: 'failed' as const } : visit
    })
    return { ...books, visits }
  },
  'a duplicate passes for handled': (books) => changesAcked(books, ({ isDuplicate: _isDuplicate, ...entry }) => entry),
  'what was handled passes for a duplicate': (books) =>
    changesAcked(books, (entry) => ({ ...entry, isDuplicate: true })),
  'a duplicate is gone without a word': (books) => changesAcked(books, () => undefined),
  'an event was published under another id': ({ publishings, ...books }) => {
    const at = publishings.findIndex(({ entryIds }) => entryIds[0] !== undefined)
    const { eventIds, ...publishing } = publishings[at] as Publishing
    return { ...books, publishings: publishings.with(at, { ...publishing, eventIds: eventIds.with(0, 'event-0') }) }
  },
}

type AckedEntry = Observed['acked']['entries'][number]

/** A delivery that succeeded in a run that nothing was done to. */
function acknowledged({ visits, invocations }: Books): Visit | undefined {
  const calm = new Set(invocations.flatMap(({ requestId, troubles }) => (troubles.size === 0 ? [requestId] : [])))
  return visits.find(({ ending, requestId }) => ending === 'succeeded' && calm.has(requestId))
}

function skippedIn({ told }: Books): string[] {
  return told
    .flatMap((one) => (one.name === 'acked' ? one.observed.entries : []))
    .flatMap(({ isDuplicate, entryId }) => (isDuplicate ? [entryId] : []))
}

/** Changes the first entry that the change makes another one; without one it is left out. */
function changesAcked(books: Books, change: (entry: AckedEntry) => AckedEntry | undefined): Books | undefined {
  let isChanged = false
  const changed = (entry: AckedEntry) => {
    const other = isChanged ? entry : change(entry)
    isChanged ||= other?.isDuplicate !== entry.isDuplicate || !other
    return other ?? []
  }
  const told = books.told.map((one) =>
    one.name === 'acked'
      ? { ...one, observed: { ...one.observed, entries: one.observed.entries.flatMap(changed) } }
      : one,
  )
  return isChanged ? { ...books, told } : undefined
}

interface EmfLine extends Readonly<Record<string, unknown>> {
  readonly _aws: { readonly CloudWatchMetrics: readonly { readonly Metrics: readonly { readonly Name: string }[] }[] }
}

function parsed(line: string): EmfLine {
  return JSON.parse(line) as EmfLine
}

/** The names of all metrics that are somewhere not 0. */
export function metricNames({ lines }: Books): string[] {
  const names = lines.flatMap((line) => {
    const { _aws, ...members } = parsed(line)
    const defined = _aws.CloudWatchMetrics.flatMap(({ Metrics }) => Metrics.map(({ Name }) => Name))
    return defined.filter((name) => [members[name]].flat().some(Boolean))
  })
  return [...new Set(names)]
}
