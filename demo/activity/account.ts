import type { Redis } from 'ioredis'
import { stateOf } from '../../functions/activity/keep-orders.ts'
import type { Simulated } from '../../functions/activity/simulation.ts'
import { isWatched, THRESHOLDS } from '../../functions/activity/watch-metrics.ts'
import { centsOf } from '../../functions/shared/money.ts'
import type { Equation } from '../equation.ts'

/** What the handlers counted, or must have: numbers by what they are of. Those that are 0 are left out. */
export type Counts = Readonly<Record<string, number>>

/** What becomes of events that are handled once each, in whatever order: the simulator's, or others of the same form. */
export function countsOf(events: Iterable<Simulated>): Counts {
  const counts = new Adding()
  const orders = new Map<string, Record<string, string>>()
  for (const { event, payload } of once(events)) {
    const said = payload as Record<string, string>
    if (typeof said.action === 'string' && event.type !== 'search') counts.add(`actions ${said.action}`)
    if (event.type === 'purchase') counts.add('actions cents', centsOf(said.amount ?? ''))
    if (event.type === 'order_placed') {
      counts.add('orders placed')
      counts.add('orders cents', centsOf(said.amount ?? ''))
    }
    if (event.type === 'order_cancelled') counts.add('orders cancelled')
    if (said.order_id) {
      const fact = event.type === 'order_placed' ? 'placed' : 'cancelled'
      orders.set(said.order_id, { ...orders.get(said.order_id), [fact]: '' })
    }
    if (event.type === 'metric' && isWatched({ payload } as Parameters<typeof isWatched>[0])) {
      const { host, name = '', value } = said
      counts.raise(`peak ${name} ${host}`, Number(value))
      if (Number(value) > (THRESHOLDS[name] ?? 0)) counts.add(`alarms ${name}`)
    }
  }
  for (const facts of orders.values()) counts.add(`orders ${stateOf(facts)} in the end`)
  return counts.all
}

/** The same from what Redis holds. */
export async function readCounts(redis: Redis): Promise<Counts> {
  const counts = new Adding()
  const hashes = [
    ['actions', '{user-actions}:activity:*'],
    ['orders', '{user-orders}:totals:*'],
    ['alarms', '{system-metrics}:alarms:*'],
  ] as const
  for (const [of, pattern] of hashes)
    for (const key of await redis.keys(pattern))
      for (const [field, value] of Object.entries(await redis.hgetall(key))) counts.add(`${of} ${field}`, value)
  for (const key of await redis.keys('{user-orders}:order:*'))
    counts.add(`orders ${stateOf(await redis.hgetall(key))} in the end`)
  for (const key of await redis.keys('{system-metrics}:peaks:*')) {
    const [, , name] = key.split(':')
    const flat = await redis.zrange(key, '0', '-1', 'WITHSCORES')
    for (let n = 0; n < flat.length; n += 2) counts.raise(`peak ${name} ${flat[n]}`, Number(flat[n + 1]))
  }
  return counts.all
}

/** One equation for each number. */
export function countEquations(counted: Counts, published: Counts): Equation[] {
  const names = [...new Set([...Object.keys(published), ...Object.keys(counted)])].sort()
  return names.map((name) => ({
    left: [[name, counted[name] ?? 0]],
    right: [['published', published[name] ?? 0]],
  }))
}

/** Each event once, by its id. */
function once(events: Iterable<Simulated>): Iterable<Simulated> {
  return new Map(Array.from(events, (event) => [`${event.to} ${event.eventId}`, event])).values()
}

class Adding {
  readonly all: Record<string, number> = {}

  add(name: string, by: bigint | string | number = 1): void {
    const sum = (this.all[name] ?? 0) + Number(by)
    if (sum !== 0) this.all[name] = sum
  }

  raise(name: string, value: number): void {
    this.all[name] = Math.max(this.all[name] ?? -Infinity, value)
  }
}
