import { readMetricLine } from '../../support/metric-lines.ts'
import type { Measurement } from './books.ts'
import type { GroupName } from './server-view.ts'
import { GROUPS, STREAM } from './server-view.ts'
import type { Shop } from './shop.ts'

/** A claim, and what it says of its groups beside what the server says. */
export async function measure(shop: Shop): Promise<void> {
  const from = shop.written.length
  const startedAt = Number((await shop.raw.time())[0]) * 1_000
  const report = await shop.run('claim')
  const [seconds] = await shop.raw.time()
  const endedAt = (Number(seconds) + 1) * 1_000
  const lines = shop.written
    .slice(from)
    .filter((line) => line.startsWith('{"_aws"'))
    .map(readMetricLine)
    .filter(({ dimensions }) => Object.keys(dimensions).join() === 'service,EventSource,ConsumerGroup')
  for (const group of GROUPS) {
    const backlog = report.consumers.find((one) => one.group === group)?.backlog
    const written = lines.find(({ dimensions }) => dimensions.ConsumerGroup === group)?.metrics ?? {}
    const [oldest] = await shop.server.pending(group)
    const age = (at: number) => (oldest ? Math.max(0, at - Number.parseInt(oldest, 10)) : 0)
    shop.measurements.push({
      group,
      reported: { ...backlog },
      written: written as Measurement['written'],
      server: await lookAt(shop, group),
      oldestPendingMs: [age(startedAt), age(endedAt)],
    })
  }
}

/** What the server says of a group. It counts entries ahead only where none of them was deleted; ours counts a few by itself. */
async function lookAt(shop: Shop, group: GroupName): Promise<Measurement['server']> {
  const { lag } = await shop.server.info(group)
  const unread = await shop.server.unread(group)
  return {
    pending: Number((await shop.raw.xpending(STREAM, group))[0]),
    lag: unread.length < 10 ? unread.length : lag === null ? undefined : Number(lag),
    streamLength: await shop.raw.xlen(STREAM),
    deadLetters: await shop.raw.xlen(shop.consumers[group].keys.deadLetters),
  }
}
