import type { ConsumerOptions, Policy } from 'millrace'
import { defineConsumer, defineEvent, definePolicy, on } from 'millrace'
import * as z from 'zod/mini'
export const DUE = '{orders}:billing:due'
export const WAITING = '{orders}:billing:waiting'
export const STATE = '{orders}:billing:state'
export const ev = (t: string) => defineEvent(t, { payload: z.object({ id: z.string() }) })
export const Paid = ev('Paid')
export function cons(routes: Record<string, (e: any, c: any) => any>, options: Partial<ConsumerOptions> = {}) {
  return defineConsumer({
    stream: 'orders', group: 'billing',
    routes: Object.entries(routes).map(([t, h]) => on(ev(t), h)),
    ...options,
  })
}
export const add = (raw: any, type: string, id: string, at = '*') => raw.xadd('orders', at, 'eventType', type, 'payload', JSON.stringify({ id }))
export const addMany = async (raw: any, rows: [string, string][]) => { const p = raw.pipeline(); for (const [t, id] of rows) p.xadd('orders', '*', 'eventType', t, 'payload', JSON.stringify({ id })); return (await p.exec()).map((r: any) => r[1] as string) }
export const pend = async (raw: any) => ((await raw.xpending('orders', 'billing', '-', '+', 100000)) as any[]).map((r) => [r[0], r[1], r[3]] as [string, string, number])
export function waits(calledFor: { has(x: string): boolean }, name = 'waits'): Policy {
  return definePolicy({ name, begin: () => ({
    admit: (jobs: any) => jobs.map(({ event }: any) => { const { id } = event.payload; return id.startsWith('w') && !calledFor.has(id) ? { action: 'park', until: id } : undefined }),
    isOver: (u: string) => calledFor.has(u) }) } as any)
}
