import { circuitBreaker, concurrencyLimit, createPublisher, defineConsumer, on, poll, rateLimit } from 'millrace'
import { connectMemory, createVirtualClock } from 'millrace/testing'
import { expect, it } from 'vitest'
import { Paid, Shipped } from '../policies/world.ts'

async function sim(use: any[], opts: { ms: number; pollers: number; handlerMs?: (t: string, k: string) => number; fail?: (t: string, at: number) => boolean; n: number; type: (n: number) => any; key?: (n: number) => string; concurrency?: number; kill?: boolean }) {
  const clock = createVirtualClock()
  const redis = connectMemory({ clock })
  const times: [string, string, number, number][] = []
  const h = async ({ type, payload }: any) => {
    const at = clock.monotonic()
    if (opts.fail?.(type, at)) throw new Error('down')
    times.push([type, payload.key ?? '', at, Number(payload.id)])
    const ms = opts.handlerMs?.(type, payload.key) ?? 0
    if (ms) await new Promise<void>((r) => void clock.after(ms, r))
  }
  const consumer = defineConsumer({ stream: 'orders', group: 'billing', mode: 'listen', routes: [on(Paid, h as never), on(Shipped, h as never)], use, ...(opts.concurrency && { concurrency: opts.concurrency }), maxParked: 20_000 } as never)
  const publisher = createPublisher({ stream: 'orders', redis })
  for (let n = 0; n < opts.n; n++) { if (n % 50 === 0) await clock.advance(1); await publisher.publish(opts.type(n), { id: String(n), ...(opts.key && { key: opts.key(n) }) }) }
  await clock.advance(5)
  const stop = new AbortController()
  const again = async (i: number) => {
    while (!stop.signal.aborted) {
      const one = new AbortController()
      stop.signal.addEventListener('abort', () => one.abort())
      if (opts.kill) clock.after(1500 + 700 * i, () => one.abort())
      await poll(consumer, { redis, clock, signal: one.signal, remainingMs: 800_000 })
    }
  }
  const runs = Array.from({ length: opts.pollers }, (_, i) => again(i))
  await clock.advance(opts.ms)
  stop.abort()
  await clock.advance(60_000)
  await Promise.all(runs)
  return times.filter(([, , at]) => at)
}
const R = { max: 5, perMs: 1_000 }
const inv = (t: any[]) => t.filter((x, i) => i && x[3] < t[i - 1][3]).length
it('A: breaker of one type open, rate of all', async () => {
  const t = await sim([circuitBreaker({ failures: 2, perMs: 60_000, probeAfterMs: 5_000 }), rateLimit(R)], { ms: 40_000, pollers: 2, n: 400, type: (n) => (n % 2 ? Paid : Shipped), fail: (t) => t === 'Paid' })
  console.log('A', t.length, inv(t))
})
it('B: place by key hot, rate of all', async () => {
  const t = await sim([concurrencyLimit({ max: 1, by: ({ payload }: any) => payload.key }), rateLimit(R)], { ms: 40_000, pollers: 2, n: 400, type: () => Paid, key: (n) => (n % 2 ? 'hot' : `k${n}`), handlerMs: (_t, k) => (k === 'hot' ? 5_000 : 0) })
  console.log('B', t.length, t.filter((x) => x[1] !== 'hot').length)
})
it('C: two rates', async () => {
  const t = await sim([rateLimit({ max: 1, perMs: 1_000, by: ({ payload }: any) => payload.key }), rateLimit(R)], { ms: 40_000, pollers: 2, n: 400, type: () => Paid, key: (n) => (n % 2 ? 'hot' : `k${n}`) })
  for(let b=0;b<40000;b+=4000)console.log('c',b,t.filter(x=>x[2]>=b&&x[2]<b+4000).length,t.filter(x=>x[2]>=b&&x[2]<b+4000&&x[1]==='hot').length);console.log('C', t.length, t.filter((x) => x[1] !== 'hot').length)
})
it('D: pollers that end and come again', async () => {
  const t = await sim([rateLimit(R)], { ms: 40_000, pollers: 3, n: 400, type: () => Paid, kill: true })
  console.log('D', t.length, inv(t))
})
it('E: slow handlers, one at once', async () => {
  const t = await sim([rateLimit(R)], { ms: 40_000, pollers: 8, n: 400, type: () => Paid, concurrency: 1, handlerMs: () => 1_200 })
  console.log('E', t.length, inv(t))
})
it('F: 3000 wait', async () => {
  const t = await sim([rateLimit({ max: 50, perMs: 1_000 })], { ms: 40_000, pollers: 3, n: 3000, type: () => Paid })
  console.log(JSON.stringify(t.map((x,i)=>[i,x[3],Math.round(x[2])]).filter(([i,n])=>Math.abs(i-n)>5).slice(0,12)));console.log('F', t.length, inv(t), Math.max(...t.map((x, i) => Math.abs(x[3] - i))))
})
it('G: shuffled slow and fast pollers', async () => {
  const t = await sim([rateLimit({ max: 20, perMs: 1_000 })], { ms: 40_000, pollers: 4, n: 1000, type: () => Paid, concurrency: 2, handlerMs: () => 350, kill: true })
  console.log('G', t.length, inv(t))
})
