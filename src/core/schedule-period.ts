const MS: Readonly<Record<string, number>> = { minute: 60_000, hour: 3_600_000, day: 86_400_000 }

/** Milliseconds between two ticks of a `rate(…)`; `undefined` for a `cron(…)`, whose ticks may lie anyhow. */
export function schedulePeriodMs(schedule: string): number | undefined {
  const [, count, unit = ''] = /^rate\((\d+) (minute|hour|day)s?\)$/.exec(schedule) ?? []
  return count === undefined ? undefined : Number(count) * (MS[unit] as number)
}
