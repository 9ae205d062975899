import { claim, definePolicy, poll, UnavailableError } from 'millrace'
import { describe, expect, it, onTestFinished } from 'vitest'
import { connect as connectUrl } from 'millrace/connect'
import { connectIoredis } from 'millrace/ioredis'
import { startRestServer } from '../support/rest-server.ts'
import { passOnDue, setAside } from '../support/due.ts'
import { counts as all, difference, startScenario } from '../support/scenario.ts'
import { add, addMany, cons, DUE, pend, STATE, waits, WAITING } from './kit.ts'
const counts = (r: any) => { const { drained, batches, invoked, throttled, ...rest } = all(r); return rest }
const OPT = { unrouted: 'park', backoff: { firstMs: 0 }, batchSize: 1000 } as const
const LAST = '18446744073709551615-18446744073709551615'

describe('attack 4', () => {
  it.each([1022, 1023, 1024, 1025, 2000])('a count of %i and maxDeliveries 1500', async (n) => {
    const { redis, raw } = await startScenario()
    const calls: number[] = []
    const c = cons({ Paid: (_e, k) => { calls.push(k.deliveryCount); throw new Error('no') } }, { ...OPT, maxDeliveries: 1500, backoff: { firstMs: 3_600_000 } })
    await poll(c, { redis })
    const id = await add(raw, 'Paid', 'x')
    await poll(c, { redis })
    await setAside(raw, [id as string], n)
    calls.length = 0
    const r = await claim(c, { redis })
    const p = await pend(raw)
    await claim(c, { redis })
    const score = await raw.zscore(DUE, id as string)
    await raw.xgroup('DESTROY', 'orders', 'billing')
    await claim(c, { redis })
    const p2 = await pend(raw)
    expect([counts(r), calls, p, p2]).toEqual(n >= 1500
      ? [{ claimed: 1, deadLettered: 1 }, [], [], []]
      : [{ claimed: 1, retried: 1 }, [n + 1], [[id, 'parked', n + 1]], [[id, 'parked', Math.min(1023, n + 1)]]])
    void score
  })
  it.each(['0-1', LAST, '18446744073709551614-18446744073709551615', '5-18446744073709551615'])('id %s', async (at) => {
    const { redis, raw } = await startScenario()
    let bad = true
    const calls: string[] = []
    const old = cons({ Paid: () => { if (bad) throw new Error('no') } }, OPT)
    const c = cons({ Paid: (e) => { if (bad) throw new Error('no'); calls.push(e.payload.id) }, Tea: (e) => { calls.push(e.payload.id) } }, OPT)
    await poll(old, { redis })
    await add(raw, 'Tea', 't', at)
    await poll(old, { redis }); await claim(old, { redis })
    await raw.xgroup('DESTROY', 'orders', 'billing')
    await claim(old, { redis }); await claim(old, { redis })
    const p = await pend(raw)
    await raw.del(WAITING)
    const r1 = await claim(old, { redis }); await claim(old, { redis })
    await raw.del(DUE, WAITING)
    for (let i = 0; i < 3; i++) await claim(old, { redis })
    bad = false
    for (let i = 0; i < 3; i++) await claim(c, { redis })
    expect([p, difference(r1), calls, await pend(raw)]).toEqual([[[at, 'parked', 0]], 0, ['t'], []])
  })
  it('XDEL in due, conditions: lost once each, nothing blocked', async () => {
    const { redis, raw } = await startScenario()
    let bad = true
    const calls: string[] = []
    const old = cons({ Paid: () => { throw new Error('no') } }, OPT)
    const c = cons({ Paid: (e) => calls.push(e.payload.id), Tea: (e) => calls.push(e.payload.id) }, OPT)
    await poll(old, { redis })
    const ids = await addMany(raw, Array.from({ length: 60 }, (_, n) => [n % 2 ? 'Tea' : 'Paid', `x${n}`] as [string, string]))
    await poll(old, { redis })
    for (let n = 10; n < 40; n++) await raw.xdel('orders', ids[n])
    let lost = 0
    for (let i = 0; i < 4; i++) { const r = await claim(c, { redis }); lost += r.lost; expect(difference(r)).toBe(0) }
    expect([lost, new Set(calls).size, calls.length, await pend(raw), await raw.zcard(DUE), await raw.zcard(WAITING)]).toEqual([30, 30, 30, [], 0, 0])
    void bad
  })
  it('names with spaces, newlines, unicode, thousands', async () => {
    const { redis, raw } = await startScenario()
    const calls: string[] = []
    const c = cons({ Paid: (e) => calls.push(e.payload.id) }, OPT)
    await poll(c, { redis })
    const ids = await addMany(raw, Array.from({ length: 3000 }, (_, n) => ['Paid', `x${n}`] as [string, string]))
    const names: any[] = ['a b', 'a\nb', 'ü€😀', '5-0 x', '', 'parked ', 'Parked', Buffer.from([0xff, 0xfe]), Buffer.from([0x80]), '0-0', ' ', '\n', 'x'.repeat(5000)]
    for (let n = 0; n < 3000; n++) { const who = n < 26 * 100 ? (names[n % names.length] === '' ? 'e' : names[n % names.length]) : `n${n}`; await raw.call('xreadgroup', 'GROUP', 'billing', who, 'COUNT', 1, 'STREAMS', 'orders', '>') }
    const p = raw.pipeline(); for (const [id, owner] of await pend(raw)) void [id, owner]
    // age by XCLAIM IDLE under the same binary names
    for (let n = 0; n < 3000; n++) { const who = n < 2600 ? (names[n % names.length] === '' ? 'e' : names[n % names.length]) : `n${n}`; p.call('xclaim', 'orders', 'billing', who, 0, ids[n], 'IDLE', 100000, 'JUSTID') }
    await p.exec()
    let runs = 0
    for (; runs < 8 && (await pend(raw)).length > 0; runs++) await claim(c, { redis })
    expect([(await pend(raw)).length, calls.length, new Set(calls).size]).toEqual([0, 3000, 3000])
  })
  it('two claimers at once: each once', async () => {
    const { redis, raw, connect } = await startScenario()
    let bad = true
    const calls: string[] = []
    const old = cons({ Paid: () => { throw new Error('no') } }, OPT)
    const c = cons({ Paid: async (e, k) => { calls.push(`${e.payload.id}/${k.deliveryCount}`) }, Tea: (e, k) => calls.push(`${e.payload.id}/${k.deliveryCount}`) }, OPT)
    await poll(old, { redis })
    await addMany(raw, Array.from({ length: 800 }, (_, n) => [n % 2 ? 'Tea' : 'Paid', `x${n}`] as [string, string]))
    await poll(old, { redis })
    const rs = await Promise.all([claim(c, { redis }), claim(c, { redis: connect() }), poll(c, { redis: connect() })])
    expect([rs.map(difference), calls.length, new Set(calls.map((x) => x.split('/')[0])).size, await pend(raw), rs[0].claimed + rs[1].claimed]).toEqual([[0, 0, 0], 800, 800, [], 800])
    void bad
  })
  it.each([181, 250])('unavailable types of %i characters cost as much as short ones', async (len) => {
    const cost: any[] = []
    for (const T of ['S', 'L'.repeat(len), `a%b\n\u0001${'é'.repeat(20)}`]) {
      const { redis, raw } = await startScenario()
      const calls: string[] = []
      let down = false
      const c = cons({ [T]: async (e) => { calls.push(e.payload.id); if (down) throw new UnavailableError('x'); throw new Error('no') } }, { ...OPT, concurrency: 1 })
      await poll(c, { redis })
      await addMany(raw, Array.from({ length: 400 }, (_, n) => [T, `x${n}`] as [string, string]))
      await poll(c, { redis })
      down = true
      const r = await claim(c, { redis })
      const r2 = await claim(c, { redis })
      cost.push([r.claimed, r.roundTrips, r2.claimed, r2.roundTrips])
    }
    expect(cost[1]).toEqual(cost[0])
    expect(cost[2]).toEqual(cost[0])
  })
  it('idle claimer with 3,000 that wait is two requests', async () => {
    const { redis, raw } = await startScenario()
    const c = cons({ Paid: () => { throw new Error('no') } }, { ...OPT, backoff: { firstMs: 3_600_000 } })
    await poll(c, { redis })
    await addMany(raw, Array.from({ length: 3000 }, (_, n) => [n % 2 ? `T${n}` : 'Paid', `x${n}`] as [string, string]))
    await poll(c, { redis })
    const rs: any[] = []
    for (let i = 0; i < 5; i++) { const r = await claim(c, { redis }); rs.push([r.claimed, r.roundTrips, Math.round(r.durationMs) > 200]) }
    expect(rs.slice(1)).toEqual(Array.from({ length: 4 }, () => [0, 2, false]))
  })
  it('XGROUP SETID back and DELCONSUMER parked', async () => {
    const { redis, raw } = await startScenario()
    let bad = true
    const calls: string[] = []
    const c = cons({ Paid: (e) => { if (bad) throw new Error('no'); calls.push(e.payload.id) } }, { ...OPT, backoff: { firstMs: 3_600_000 } })
    await poll(c, { redis })
    await addMany(raw, [['Paid', 'a'], ['Paid', 'b'], ['Tea', 'c']])
    await poll(c, { redis })
    await raw.xgroup('SETID', 'orders', 'billing', '0')
    bad = false
    await poll(c, { redis })
    await passOnDue(raw, 3_600_000)
    const r = await claim(c, { redis })
    expect([calls, counts(r), (await pend(raw)).length, await raw.zcard(DUE), await raw.zcard(WAITING)]).toEqual([['a', 'b'], {}, 1, 0, 1])
  })
  it('maxBytes small, many due', async () => {
    const { redis, raw } = await startScenario()
    let bad = true
    const calls: string[] = []
    const c = cons({ Paid: async (e, k) => { if (bad) throw new Error('no'); calls.push(`${e.payload.id.slice(0, 5)}/${k.deliveryCount}`) } }, { ...OPT, maxBytes: 200_000, concurrency: 20 } as any)
    await poll(c, { redis })
    await addMany(raw, Array.from({ length: 60 }, (_, n) => ['Paid', `x${n}-${'y'.repeat(20_000)}`] as [string, string]))
    while ((await poll(c, { redis })).read > 0);
    bad = false
    const r = await claim(c, { redis })
    for (let i = 0; i < 3; i++) await claim(c, { redis })
    expect([difference(r), calls.length, new Set(calls.map((x) => x.split('/')[1])), r.roundTrips < 60]).toEqual([0, 60, new Set(['2']), true])
  })
  it('a handler that ignores its time keeps what was taken; no extra delivery', async () => {
    const { redis, raw } = await startScenario()
    let mode = 'bad'
    const calls: string[] = []
    const c = cons({ Paid: async (e, k) => { calls.push(`${e.payload.id}/${k.deliveryCount}`); if (mode === 'bad') throw new Error('no'); if (mode === 'hang') await new Promise(() => {}) } }, { ...OPT, handlerTimeoutMs: 300, minIdleMs: 5_300, maxDeliveries: 3 })
    await poll(c, { redis })
    await addMany(raw, [['Paid', 'a']])
    await poll(c, { redis })
    mode = 'hang'
    const r = await claim(c, { redis, remainingMs: 8000 })
    const p = await pend(raw)
    mode = 'ok'
    for (const [id, o] of p) if (o !== 'parked') await raw.xclaim('orders', 'billing', o, 0, id, 'IDLE', 10_000, 'JUSTID')
    const r2 = await claim(c, { redis })
    expect([difference(r), difference(r2), calls, await pend(raw), await raw.zcard(DUE)]).toEqual([0, 0, ['a/1', 'a/2', 'a/3'], [], 0])
  })
  it('policy parks by odd values', async () => {
    const { redis, raw } = await startScenario()
    const odd: any[] = [{ action: 'park', delayMs: 0 }, { action: 'park', delayMs: 0.5 }, { action: 'park', delayMs: 100 * 365 * 86_400_000 }, { action: 'park', until: '\n' }, { action: 'park', until: '\ud800' }, { action: 'park', until: '%0A' }, { action: 'park', until: ' ' }, { action: 'park', until: 'é'.repeat(100) }, { action: 'park', until: '\u0000' }, { action: 'park', until: '\v\n5:1' }]
    let open = false
    const seen = new Set<string>()
    const pol = definePolicy({ name: 'p q\n%', begin: () => ({ admit: (jobs: any) => jobs.map(({ event }: any) => open ? undefined : odd[Number(event.payload.id)]), isOver: (u: string) => { seen.add(u); return open } }) } as any)
    const calls: string[] = []
    const c = cons({ Paid: (e, k) => calls.push(`${e.payload.id}/${k.deliveryCount}`) }, { ...OPT, use: [pol] })
    await poll(c, { redis })
    await addMany(raw, odd.map((_, n) => ['Paid', `${n}`] as [string, string]))
    await poll(c, { redis })
    const r = [await claim(c, { redis }), await claim(c, { redis })]
    open = true
    await claim(c, { redis })
    await claim(c, { redis })
    expect([r.map(difference), calls.toSorted(), (await pend(raw)).length]).toEqual([[0, 0], ['0/1', '1/1', '3/1', '4/1', '5/1', '6/1', '7/1', '8/1', '9/1'], 1])
    expect([...seen].toSorted()).toEqual(odd.filter((o) => o.until).map((o) => o.until.toWellFormed()).toSorted())
  })
})
