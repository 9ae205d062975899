import { claim, poll, UnavailableError } from 'millrace'
import { describe, expect, it } from 'vitest'
import { counts as all, difference, startScenario } from '../support/scenario.ts'
import { add, addMany, cons, DUE, pend, STATE, waits, WAITING } from './kit.ts'

const counts = (r: any) => { const { drained, batches, invoked, ...rest } = all(r); return rest }
const pad = (n: number) => String(n).padStart(4, '0')
const OPT = { unrouted: 'park', backoff: { firstMs: 0 }, batchSize: 1000 } as const

describe('attack 1', () => {
  it('the 101st condition comes back (unrouted)', async () => {
    const { redis, raw } = await startScenario()
    await poll(cons({ Paid: () => {} }, OPT), { redis })
    await addMany(raw, Array.from({ length: 150 }, (_, n) => [`T${pad(n)}`, `x${n}`] as [string, string]))
    await poll(cons({ Paid: () => {} }, OPT), { redis })
    const calls: string[] = []
    const next = cons({ T0140: (e) => calls.push(e.payload.id) }, OPT)
    for (let i = 0; i < 30 && calls.length === 0; i++) { await claim(cons({ Paid: () => {} }, OPT), { redis }); await claim(next, { redis }) }
    expect(calls).toEqual(['x140'])
  })
  it('150 conditions: mend gives none of them a second place', async () => {
    const { redis, raw } = await startScenario()
    const c = cons({ Paid: () => {} }, OPT)
    await poll(c, { redis })
    await addMany(raw, Array.from({ length: 150 }, (_, n) => [`T${pad(n)}`, `x${n}`] as [string, string]))
    await poll(c, { redis })
    await raw.zadd(DUE, String((Date.now() + 1e9) * 1024), '5-5')
    const reports: any[] = []
    for (let i = 0; i < 4; i++) reports.push(counts(await claim(c, { redis })))
    expect(reports).toEqual([{}, {}, {}, {}])
  })
  it('a garbage member in waiting blocks nobody', async () => {
    const { redis, raw } = await startScenario()
    await poll(cons({ Paid: () => {} }, OPT), { redis })
    await add(raw, 'Tea', 'x1')
    await poll(cons({ Paid: () => {} }, OPT), { redis })
    await raw.zadd(WAITING, 0, 'a')
    const calls: string[] = []
    const c = cons({ Tea: (e) => calls.push(e.payload.id) }, OPT)
    const r: any[] = []
    for (let i = 0; i < 3; i++) r.push(counts(await claim(c, { redis })))
    expect([calls, r[0]]).toEqual([['x1'], { claimed: 1, acked: 1 }])
  })
  it('a garbage score in waiting blocks nobody', async () => {
    const { redis, raw } = await startScenario()
    await poll(cons({ Paid: () => {} }, OPT), { redis })
    await add(raw, 'Tea', 'x1')
    await poll(cons({ Paid: () => {} }, OPT), { redis })
    await raw.zadd(WAITING, 5, 'aaa')
    const calls: string[] = []
    const c = cons({ Tea: (e) => calls.push(e.payload.id) }, OPT)
    const r: any[] = []
    for (let i = 0; i < 3; i++) r.push(counts(await claim(c, { redis })))
    expect([calls, await pend(raw)]).toEqual([['x1'], []])
  })
  it('a garbage id of another spelling in due loses nothing', async () => {
    const { redis, raw } = await startScenario()
    let bad = true
    const calls: string[] = []
    const c = cons({ Paid: (e) => { calls.push(e.payload.id); if (bad) throw new Error('no') } }, OPT)
    await poll(c, { redis })
    await add(raw, 'Paid', 'x1', '7-1')
    await poll(c, { redis })
    await raw.zadd(DUE, 1, '07-1')
    await raw.zadd(DUE, 1, '007-01')
    const r1 = await claim(c, { redis })
    const p = await pend(raw)
    bad = false
    const r2 = await claim(c, { redis })
    expect([counts(r1), p, counts(r2), calls]).toEqual([{ claimed: 1, retried: 1 }, [['7-1', 'parked', 2]], { claimed: 1, acked: 1 }, ['x1', 'x1', 'x1']])
  })
  it('healing goes on though its fields are gone or garbage', async () => {
    for (const spoil of [(raw: any) => raw.hdel(STATE, 'healWaiting'), (raw: any) => raw.hset(STATE, 'healDue', 'x', 'healWaiting', 'y'), (raw: any) => raw.hset(STATE, 'healing', 'x')]) {
      const { redis, raw } = await startScenario()
      let bad = true
      const calls = new Set<string>()
      const c = cons({ Paid: (e) => { if (bad) throw new Error('no'); calls.add(e.payload.id) } }, { ...OPT, backoff: { firstMs: 3_600_000 } })
      await poll(c, { redis })
      await addMany(raw, Array.from({ length: 1200 }, (_, n) => ['Paid', `x${n}`] as [string, string]))
      await poll(c, { redis })
      await claim(c, { redis })
      bad = false
      await raw.xgroup('DESTROY', 'orders', 'billing')
      await poll(c, { redis })
      await spoil(raw)
      for (let i = 0; i < 3; i++) await claim(c, { redis })
      const left = await pend(raw)
      expect([left.length + calls.size, await raw.hexists(STATE, 'healing')]).toEqual([1200, 0])
    }
  })
  it('what was trimmed while set aside is counted once', async () => {
    const { redis, raw } = await startScenario()
    const c = cons({ Paid: () => {} }, OPT)
    await poll(c, { redis })
    await addMany(raw, Array.from({ length: 900 }, (_, n) => [`T${n % 3}`, `x${n}`] as [string, string]))
    await poll(c, { redis })
    await raw.xtrim('orders', 'MAXLEN', 0)
    let lost = 0
    for (let i = 0; i < 6; i++) lost += (await claim(c, { redis })).lost
    expect([lost, (await pend(raw)).length, await raw.zcard(WAITING)]).toEqual([900, 0, 0])
  })
  it('a zombie ack of what waits, then trimmed, is not lost', async () => {
    const { redis, raw } = await startScenario()
    const c = cons({ Paid: () => {} }, OPT)
    await poll(c, { redis })
    const [a] = await addMany(raw, [['T1', 'a'], ['T1', 'b'], ['Paid', 'c']])
    await poll(c, { redis })
    await raw.xack('orders', 'billing', a)
    await raw.xtrim('orders', 'MAXLEN', 0)
    let lost = 0
    for (let i = 0; i < 3; i++) lost += (await claim(c, { redis })).lost
    expect(lost).toBe(1)
  })
  it('a missing place and a stale one do not hide each other', async () => {
    const { redis, raw } = await startScenario()
    const calls: string[] = []
    let bad = true
    const c = cons({ Paid: (e) => { if (bad) throw new Error('no'); calls.push(e.payload.id) } }, { ...OPT, backoff: { firstMs: 3_600_000 } })
    await poll(c, { redis })
    const [a, b] = await addMany(raw, [['Paid', 'a'], ['Paid', 'b']])
    await poll(c, { redis })
    bad = false
    await raw.xack('orders', 'billing', a)
    await raw.zrem(DUE, b)
    await claim(c, { redis })
    const noted = await raw.hget(STATE, 'mended')
    if (noted) await raw.hset(STATE, 'mended', noted.replace(/^\d+/, (t) => String(Number(t) - 90_000_000)))
    for (let i = 0; i < 3; i++) await claim(c, { redis })
    expect(calls).toEqual(['b'])
  })
  it('types above 180 characters are held', async () => {
    const { redis, raw } = await startScenario()
    const T = 'L'.repeat(250)
    const calls: string[] = []
    const c = cons({ [T]: (e) => { calls.push(e.payload.id); throw new UnavailableError('x') } }, { ...OPT, concurrency: 1 })
    await poll(c, { redis })
    await addMany(raw, Array.from({ length: 50 }, (_, n) => [T, `x${n}`] as [string, string]))
    await poll(c, { redis })
    const r = await claim(c, { redis })
    const r2 = await claim(c, { redis })
    expect([difference(r), r.claimed < 30, r2.claimed < 30, (await pend(raw)).every(([, o, n]) => o === 'parked' && n === 0)]).toEqual([0, true, true, true])
  })
  it('one in due and waiting at once runs once', async () => {
    const { redis, raw } = await startScenario()
    await poll(cons({ Paid: () => {} }, OPT), { redis })
    const id = await add(raw, 'Tea', 'x1')
    await poll(cons({ Paid: () => {} }, OPT), { redis })
    await raw.zadd(DUE, 1, id)
    await raw.zadd(WAITING, 0, (await raw.zrange(WAITING, 0, 0))[0].replace('Tea', 'Toe'))
    const calls: string[] = []
    const c = cons({ Tea: (e, k) => calls.push(e.payload.id + k.deliveryCount), Toe: () => {} }, OPT)
    const r: any[] = []
    for (let i = 0; i < 3; i++) r.push(counts(await claim(c, { redis })))
    expect([calls, r, await raw.zcard(DUE), await raw.zcard(WAITING)]).toEqual([['x11'], [{ claimed: 1, acked: 1 }, {}, {}], 0, 0])
  })
})
