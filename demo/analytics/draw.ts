import type { readDashboard } from '../../functions/analytics/dashboard.ts'
import type { Alert } from '../../functions/analytics/detector.ts'
import { paint } from '../paint.ts'

/** What the function `read` answers. */
export type Shown = Awaited<ReturnType<typeof readDashboard>>

const MINUTE_MS = 60_000
const BARS = ' ▁▂▃▄▅▆▇█'
const WIDTH = 40

/** An hour of the shop, in some 25 lines. */
export function drawDashboard(shown: Shown, alerts: readonly Alert[], now: number): string[] {
  const { totals, active, hours, top } = shown
  const last = hours.at(-1)
  const revenue = (one: { readonly revenue: string }) => Number(one.revenue)
  return [
    paint('bold', `The shop at ${clockOf(now)}, the hour before it`),
    '',
    `views      ${sparkline(shown, (minute) => minute.views)} ${totals.views}`,
    `revenue    ${sparkline(shown, revenue)} ${totals.revenue}`,
    `sliding    ${sparkline(shown, (minute) => revenue(minute.sliding))} of 5 minutes`,
    '',
    `active users ${active.users} ±${(active.standardError * 100).toFixed(2)} %   open sessions ${shown.openSessions}   too late ${totals.late}`,
    '',
    paint('bold', `Sessions since ${last ? clockOf(Date.parse(last.at)) : 'never'}`),
    ...Object.entries(last?.funnel ?? {}).map(([step, count]) => bar(step, count, last?.sessions ?? 0)),
    `${'conversion'.padEnd(14)} ${((last?.conversion ?? 0) * 100).toFixed(1)} %`,
    '',
    paint('bold', 'Pages and what is sold'),
    ...Array.from({ length: 5 }, (_, n) => {
      const [page, sku] = [top.pages?.[n], top.skus?.[n]]
      return `${named(page)}   ${named(sku)}`
    }),
    '',
    paint('bold', 'Unusual'),
    ...(alerts.length === 0 ? ['nothing'] : alerts.map(alertLine)),
  ]
}

function sparkline({ from, to, minutes }: Shown, of: (minute: Shown['minutes'][number]) => number): string {
  const values = new Map(minutes.map((minute) => [Date.parse(minute.at), of(minute)]))
  const most = Math.max(1, ...values.values())
  const count = Math.round((Date.parse(to) - Date.parse(from)) / MINUTE_MS)
  const heights = Array.from({ length: count }, (_, n) => (values.get(Date.parse(from) + n * MINUTE_MS) ?? 0) / most)
  return paint('cyan', heights.map((height) => BARS[Math.ceil(height * (BARS.length - 1))]).join(''))
}

const bar = (name: string, count: number, of: number) =>
  `${name.padEnd(14)} ${paint('green', '█'.repeat(of > 0 ? Math.round((count / of) * WIDTH) : 0))} ${count}`

const named = (one: { readonly name: string; readonly count: number } | undefined) =>
  one ? `${String(one.count).padStart(6)} ${one.name.slice(0, 24).padEnd(24)}` : ''.padEnd(31)

function alertLine({ at, measures }: Alert): string {
  const what = Object.entries(measures).map(
    ([name, { value, expected, z }]) => `${name} ${value}, usually ${expected} (z ${z.toFixed(1)})`,
  )
  return paint('red', `${clockOf(Date.parse(at))} ${what.join('; ')}`)
}

const clockOf = (ms: number) => new Date(ms).toISOString().slice(11, 16)
