import type { Random } from '../random.ts'

/** An entry as a producer in Python writes it, and when. */
export interface Sent {
  /** When the stream takes it, in milliseconds since 1970. */
  readonly sentAt: number
  readonly fields: Readonly<Record<string, string>>
}

export interface TrafficOptions {
  /** Events, before some of them are sent twice. */
  readonly events: number
  /** The time in which sessions begin, in milliseconds since 1970. */
  readonly fromMs: number
  readonly toMs: number
  /** What names of users, sessions and events begin with. Default: nothing. */
  readonly prefix?: string
}

const SECOND_MS = 1_000
const MINUTE_MS = 60_000
const PAGES = ['/', '/sale', '/search', '/help', ...Array.from({ length: 40 }, (_, n) => `/item/${n}`)]
const SKUS = Array.from({ length: 60 }, (_, n) => `sku-${n}`)

/** Sessions of users who view, fill carts and buy: one event in ten sent twice, one in ten late, and of these every other one too late. */
export function* trafficOf(random: Random, { events, fromMs, toMs, prefix = '' }: TrafficOptions): Generator<Sent> {
  for (let sent = 0, session = 0; sent < events; session++) {
    let at = random.integer(fromMs, toMs)
    const user = `${prefix}user-${random.integer(0, Math.ceil(events / 8))}`
    for (const payload of stepsOf(random)) {
      if (sent === events) return
      yield* sendings(random, at, {
        event_type: payload.type,
        event_id: `${prefix}evt-${sent++}`,
        user_id: user,
        session_id: `${prefix}session-${session}`,
        ...payload.fields,
      })
      at += random.integer(SECOND_MS, MINUTE_MS)
    }
  }
}

interface Step {
  readonly type: string
  readonly fields: Readonly<Record<string, string>>
}

/** What happens in a session. */
function stepsOf(random: Random): Step[] {
  const view = (): Step => ({ type: 'page_view', fields: { action: 'view', page: popular(random, PAGES) } })
  const steps = Array.from({ length: random.integer(1, 6) }, view)
  if (random.integer(0, 10) < 6) return steps
  const sku = popular(random, SKUS)
  steps.push({ type: 'cart', fields: { action: 'add', sku } })
  if (random.integer(0, 10) < 2) steps.push({ type: 'cart', fields: { action: 'remove', sku } }, view())
  else if (random.integer(0, 10) < 6) {
    const items = Array.from({ length: random.integer(1, 4) }, () => popular(random, SKUS))
    const amount = `${random.integer(1, 200)}.${String(random.integer(0, 100)).padStart(2, '0')}`
    steps.push({ type: 'purchase', fields: { action: 'buy', amount, items: JSON.stringify(items) } })
  }
  if (random.integer(0, 2) === 0) steps.push({ type: 'logout', fields: { action: 'logout' } })
  return steps
}

/** The first ones more often. */
const popular = (random: Random, names: readonly string[]) =>
  names[Math.min(random.integer(0, names.length), random.integer(0, names.length))] as string

function* sendings(random: Random, at: number, fields: Readonly<Record<string, string>>): Generator<Sent> {
  const lag = lagOf(random)
  const entry = { ...fields, published_at: timeText(random, at) }
  yield { sentAt: at + lag, fields: entry }
  if (random.integer(0, 10) === 0) yield { sentAt: at + lag + random.integer(0, 20 * SECOND_MS), fields: entry }
}

/** Never within half a minute of the bound, so that both entries of an event lie on the same side. */
function lagOf(random: Random): number {
  const fate = random.integer(0, 20)
  if (fate === 0) return random.integer(MINUTE_MS, 9 * MINUTE_MS)
  return fate === 1 ? random.integer(11 * MINUTE_MS, 60 * MINUTE_MS) : random.integer(0, 5 * SECOND_MS)
}

/** As producers spell the time: with a zone, as UTC without saying so, or in seconds since 1970. */
function timeText(random: Random, at: number): string {
  const iso = new Date(at).toISOString()
  return random.pick([iso, iso.replace('Z', '+00:00'), iso.slice(0, -1), String(at / SECOND_MS)])
}
