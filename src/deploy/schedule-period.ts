const UNITS = { minute: 60_000, hour: 3_600_000, day: 86_400_000 }

/** Milliseconds between two runs of a `rate(…)`; `undefined` for what has no period of its own, such as `cron(…)`. */
export function schedulePeriodMs(expression: string): number | undefined {
  const rate = /^rate\(\s*(\d+)\s+(minute|hour|day)s?\s*\)$/.exec(expression.trim())
  return rate ? Number(rate[1]) * UNITS[rate[2] as keyof typeof UNITS] : undefined
}
