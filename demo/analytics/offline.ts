import type { Sent } from './traffic.ts'

const MINUTE_MS = 60_000
const SLICE_MS = 5 * MINUTE_MS
const HOUR_MS = 60 * MINUTE_MS
const ALLOWED_MS = 10 * MINUTE_MS
const GAP_MS = 30 * MINUTE_MS

const COUNTS = {
  'page_view view': 'views',
  'cart add': 'carts',
  'cart remove': 'removals',
  'purchase buy': 'purchases',
  'logout logout': 'logouts',
} as const
type Count = (typeof COUNTS)[keyof typeof COUNTS] | 'late' | 'ahead'

const NOTHING = { views: 0, carts: 0, removals: 0, purchases: 0, logouts: 0, late: 0, ahead: 0 }

interface Known extends Pick<Sent, 'sentAt'> {
  readonly at: number
  readonly fields: Sent['fields']
}

/** What the dashboard must say of all that was sent, computed from the list of it: nothing here is the system's. `users` are exact. */
export function computeOffline(
  sent: readonly Sent[],
  range: { fromMs: number; toMs: number; top: number; sliding: number },
) {
  const { fromMs, toMs, top, sliding } = range
  const once = new Map(sent.toSorted((a, b) => b.sentAt - a.sentAt).map((one) => [one.fields.event_id, one]))
  const all = [...once.values()].map((one): Known => ({ ...one, at: timeOf(one.fields.published_at as string) }))
  const late = all.filter(({ at, sentAt }) => sentAt - at > ALLOWED_MS)
  const counted = all.filter(({ at, sentAt }) => sentAt - at <= ALLOWED_MS)
  const within = (from: number, to: number) => counted.filter(({ at }) => at >= from && at < to)
  const byMinute = Map.groupBy(counted, ({ at }) => Math.floor(at / MINUTE_MS))
  const lateByMinute = Map.groupBy(late, ({ sentAt }) => Math.floor(sentAt / MINUTE_MS))
  const sumsOf = (from: number, to: number) => {
    const sums: Record<Count, number> = { ...NOTHING }
    let cents = 0
    for (let minute = from / MINUTE_MS; minute < to / MINUTE_MS; minute++) {
      sums.late += lateByMinute.get(minute)?.length ?? 0
      for (const { fields } of byMinute.get(minute) ?? []) {
        sums[COUNTS[`${fields.event_type} ${fields.action}` as keyof typeof COUNTS]]++
        cents += Math.round(Number(fields.amount ?? 0) * 100)
      }
    }
    return { ...sums, revenue: (cents / 100).toFixed(2) }
  }
  const distinct = (events: readonly Known[], field: string) => new Set(events.map(({ fields }) => fields[field])).size
  const wholeHours = { from: Math.floor(fromMs / HOUR_MS) * HOUR_MS, to: Math.ceil(toMs / HOUR_MS) * HOUR_MS }
  const inHours = within(wholeHours.from, wholeHours.to)
  const lastSeen = new Map(counted.toSorted((a, b) => a.at - b.at).map(({ fields, at }) => [fields.session_id, at]))
  const ended = new Set(counted.flatMap(({ fields }) => (fields.action === 'logout' ? fields.session_id : [])))
  const ranked = (names: readonly string[]) =>
    [...Map.groupBy(names, (name) => name)]
      .map(([name, times]) => ({ name, count: times.length }))
      .sort((a, b) => b.count - a.count || (a.name < b.name ? -1 : 1))
      .slice(0, top)
  const hours = Array.from(
    { length: (wholeHours.to - wholeHours.from) / HOUR_MS },
    (_, n) => wholeHours.from + n * HOUR_MS,
  )
  const minutes = Array.from({ length: (toMs - fromMs) / MINUTE_MS }, (_, n) => fromMs + n * MINUTE_MS)
  return {
    users: distinct(within(Math.floor(fromMs / SLICE_MS) * SLICE_MS, Math.ceil(toMs / SLICE_MS) * SLICE_MS), 'user_id'),
    usersByHour: hours.map((at) => distinct(within(at, at + HOUR_MS), 'user_id')),
    from: iso(fromMs),
    to: iso(toMs),
    totals: sumsOf(fromMs, toMs),
    openSessions: [...lastSeen].filter(([session, at]) => at >= toMs - GAP_MS && !ended.has(session)).length,
    hours: hours.map((at) => {
      const events = within(at, at + HOUR_MS)
      const bought = events.filter(({ fields }) => fields.event_type === 'purchase')
      const carted = events.filter(({ fields }) => fields.event_type === 'cart')
      const viewed = distinct(events, 'session_id')
      const funnel = {
        viewed,
        carted: distinct([...carted, ...bought], 'session_id'),
        bought: distinct(bought, 'session_id'),
      }
      const conversion = viewed > 0 ? funnel.bought / viewed : null
      return { at: iso(at), ...sumsOf(at, at + HOUR_MS), sessions: viewed, funnel, conversion }
    }),
    minutes: minutes
      .filter((at) => byMinute.has(at / MINUTE_MS) || lateByMinute.has(at / MINUTE_MS))
      .map((at) => {
        const until = at + MINUTE_MS
        return { at: iso(at), ...sumsOf(at, until), sliding: sumsOf(until - sliding * MINUTE_MS, until) }
      }),
    top: {
      pages: ranked(inHours.flatMap(({ fields }) => fields.page ?? [])),
      skus: ranked(inHours.flatMap(({ fields }) => (fields.items ? (JSON.parse(fields.items) as string[]) : []))),
    },
  }
}

const iso = (ms: number) => new Date(ms).toISOString()

/** Seconds since 1970, or ISO 8601 that is UTC unless it says otherwise. */
function timeOf(text: string): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Math.round(Number(text) * 1_000)
  return Date.parse(/(Z|\+\d\d:\d\d)$/.test(text) ? text : `${text}Z`)
}
