/** Numbers and times for a reader, and times as a reader writes them. */

/** Milliseconds of a unit, the largest first. */
export const MS_PER_UNIT = { w: 604_800_000, d: 86_400_000, h: 3_600_000, m: 60_000, s: 1_000 } as const

const SPANS = [
  ['d', MS_PER_UNIT.d],
  ['h', MS_PER_UNIT.h],
  ['min', MS_PER_UNIT.m],
  ['s', MS_PER_UNIT.s],
] as const

/** Milliseconds by their largest unit: `3 min`. */
export function formatDurationRoughly(ms: number): string {
  const [unit, length] = SPANS.find(([, length]) => ms >= length) ?? ['ms', 1]
  return `${formatNumber(Math.round(ms / length))} ${unit}`
}

const PARTS = ['d', 'h', 'm', 's'] as const

/** Milliseconds by their two largest units: `3m 12s`. */
export function formatDuration(ms: number): string {
  if (ms < MS_PER_UNIT.s) return '<1s'
  let left = ms
  const parts = PARTS.map((unit) => {
    const count = Math.floor(left / MS_PER_UNIT[unit])
    left -= count * MS_PER_UNIT[unit]
    return { count, unit }
  })
  const first = parts.findIndex(({ count }) => count > 0)
  const shown = parts.slice(first, first + 2).filter(({ count }, n) => n === 0 || count > 0)
  return shown.map(({ count, unit }) => `${count}${unit}`).join(' ')
}

/** A number with its thousands apart: `12,345`. */
export function formatNumber(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: value < 10 ? 2 : 0 })
}

/** `1 entry`, `2 entries`. */
export function formatCount(value: number, one: string, many = `${one}s`): string {
  return `${formatNumber(value)} ${value === 1 ? one : many}`
}

const BYTE_UNITS = ['B', 'KB', 'MB', 'GB', 'TB']

/** Bytes, a KB being 1,024: `12.3 MB`. */
export function formatBytes(value: number): string {
  const power = Math.min(Math.floor(Math.log2(Math.max(1, value)) / 10), BYTE_UNITS.length - 1)
  return `${power === 0 ? value : (value / 1_024 ** power).toFixed(1)} ${BYTE_UNITS[power]}`
}
