import { claim, definePolicy, poll, UnavailableError, RetryAfterError } from 'millrace'
import { describe, expect, it } from 'vitest'
import { passOnDue } from '../support/due.ts'
import { counts as all, difference, startScenario } from '../support/scenario.ts'
import { add, addMany, cons, DUE, pend, STATE, waits, WAITING } from './kit.ts'
const counts = (r: any) => { const { drained, batches, invoked, throttled, ...rest } = all(r); return rest }
const OPT = { unrouted: 'park', backoff: { firstMs: 3_600_000 }, batchSize: 1000, maxPending: 100_000, maxParked: 100_000 } as const

describe('attack 6', () => {
  it('12,000 set aside, 4,000 conditions, index deleted: all comes back, no script is slow', async () => {
    const { redis, raw } = await startScenario()
    const fail = () => { throw new Error('no') }
    const c = cons({ Paid: fail }, { ...OPT, concurrency: 1000 })
    await poll(c, { redis })
    await addMany(raw, Array.from({ length: 12_000 }, (_, n) => [n % 3 === 0 ? `T${n}` : 'Paid', `x${n}`] as [string, string]))
    while ((await poll(c, { redis })).read > 0);
    await raw.config('SET', 'slowlog-log-slower-than', '50000'); await raw.slowlog('RESET')
    const idle0 = await claim(c, { redis })
    await raw.del(DUE)
    const r1 = await claim(c, { redis })
    const due1 = await raw.zcard(DUE)
    const slow = (await raw.slowlog('GET', 20)) as any[]
    const idle: any[] = []
    for (let i = 0; i < 4; i++) { const r = await claim(c, { redis, remainingMs: 20_000 }); idle.push([r.roundTrips, r.claimed, r.parked, difference(r)]) }
    const parked = (await pend(raw)).filter(([, o]) => o === 'parked').length
    expect({ r1: r1.roundTrips, due1: due1 > 3000, idle, slow: slow.map((s) => [s[2], String(s[3]).slice(0, 40), s[3].length]), parked, w: await raw.zcard(WAITING), d: await raw.zcard(DUE) }).toEqual({ r1: 23, due1: true, idle: [[16, 6666, 0, 0], [5, 1334, 0, 0], [2, 0, 0, 0], [2, 0, 0, 0]], slow: [], parked: 12_000, w: 4000, d: 8000 })
    void idle0
  })
  it('maxParked stops reading and says so; nothing lost', async () => {
    const { redis, raw } = await startScenario()
    const o = { ...OPT, maxParked: 50, batchSize: 20 }
    const c = cons({ Paid: () => {} }, o)
    await poll(c, { redis })
    await addMany(raw, Array.from({ length: 200 }, (_, n) => [`T${n}`, `x${n}`] as [string, string]))
    const rs: any[] = []
    for (let i = 0; i < 3; i++) rs.push(await poll(c, { redis }))
    const parked = (await pend(raw)).length
    const calls: string[] = []
    const all2 = cons(Object.fromEntries(Array.from({ length: 200 }, (_, n) => [`T${n}`, (e: any) => calls.push(e.payload.id)])), o)
    for (let i = 0; i < 12; i++) { await claim(all2, { redis }); await poll(all2, { redis }) }
    expect([rs[2].parkedLimitReached, parked <= 100, calls.length, new Set(calls).size, (await pend(raw)).length]).toEqual([true, true, 200, 200, 0])
  })
  it('the clock goes back: due times far ahead stay, nothing is lost', async () => {
    const { redis, raw } = await startScenario()
    const calls: string[] = []
    let bad = true
    const c = cons({ Paid: (e) => { if (bad) throw new RetryAfterError(86_400_000); calls.push(e.payload.id) } }, OPT)
    await poll(c, { redis })
    await addMany(raw, [['Paid', 'a'], ['Paid', 'b']])
    await poll(c, { redis })
    for (const id of await raw.zrange(DUE, 0, -1)) await raw.zincrby(DUE, 3_600_000 * 1024, id)
    const r = await claim(c, { redis })
    await passOnDue(raw, 100_000_000)
    bad = false
    await claim(c, { redis })
    expect([counts(r), calls]).toEqual([{}, ['a', 'b']])
  })
  it('garbage in every score and member of due: nothing lost, nothing twice', async () => {
    const { redis, raw } = await startScenario()
    const calls: string[] = []
    let bad = true
    const c = cons({ Paid: (e, k) => { if (bad) throw new Error('no'); calls.push(`${e.payload.id}/${k.deliveryCount}`) } }, OPT)
    await poll(c, { redis })
    const ids = await addMany(raw, Array.from({ length: 8 }, (_, n) => ['Paid', `x${n}`] as [string, string]))
    await poll(c, { redis })
    const scores = ['inf', '-inf', '0.5', '-1', '9e15', '9000000000000001', '1e300', '8999999999999999']
    for (const [n, s] of scores.entries()) await raw.zadd(DUE, s, ids[n] as string)
    await raw.zadd(DUE, 1, '', 1, 'x', 1, '1', 1, '1-', 1, '99999999999999999999-1', 1, '1-1', 1, '-', 1, '+', 1, '$', 9e15, 'zz', 'inf', '', 1, '1-1\n')
    await raw.zadd(WAITING, 0, '', 0, '\n', 0, 'unrouted Paid\n', 0, 'unrouted Paid\nA1A1:x', 0, 'unrouted Paid\nA1A1:1', 0, `unrouted Paid\nT${'9'.repeat(20)}T${'9'.repeat(20)}:5`, 0, 'unrouted Paid\nB01A1:1', 3, 'zzz', -3, 'zz')
    bad = false
    const rs: any[] = []
    for (let i = 0; i < 4; i++) rs.push(await claim(c, { redis }))
    await passOnDue(raw, 3_600_000 * 24 * 365 * 300)
    rs.push(await claim(c, { redis }))
    expect([rs.map(difference), rs.map((r) => r.lost), calls.toSorted(), await pend(raw), await raw.zcard(DUE), await raw.zcard(WAITING)]).toEqual([[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], ids.map((_, n) => `x${n}/2`), [], 0, 0])
  })
  it('waiting member forged for an entry that runs elsewhere is not taken', async () => {
    const { redis, raw } = await startScenario()
    const calls: string[] = []
    const c = cons({ Paid: (e, k) => calls.push(`${e.payload.id}/${k.deliveryCount}`) }, OPT)
    await poll(c, { redis })
    const id = (await add(raw, 'Paid', 'a')) as string
    await raw.call('xreadgroup', 'GROUP', 'billing', 'poller-3', 'STREAMS', 'orders', '>')
    await raw.zadd(DUE, 1, id)
    const r = await claim(c, { redis })
    expect([counts(r), calls, (await pend(raw)).map((x) => x[1])]).toEqual([{}, [], ['poller-3']])
  })
  it('a group lost with entries taken, acked by the taker after it was made again', async () => {
    const { redis, raw, connect } = await startScenario()
    const calls: string[] = []
    let mode = 'bad'
    let release = () => {}
    const gate = new Promise<void>((r) => { release = r })
    let began = () => {}
    const started = new Promise<void>((r) => { began = r })
    const c = cons({ Paid: async (e, k) => { calls.push(`${e.payload.id}/${k.deliveryCount}`); if (mode === 'bad') throw new Error('no'); if (mode === 'slow') { began(); await gate } } }, { ...OPT, backoff: { firstMs: 0 } })
    await poll(c, { redis })
    await addMany(raw, [['Paid', 'a'], ['Paid', 'b']])
    await poll(c, { redis })
    await claim(cons({ Paid: () => { throw new Error('x') } }, { ...OPT, backoff: { firstMs: 0 } }), { redis })
    mode = 'slow'
    const run = claim(c, { redis: connect() })
    await started
    for (let i = 0; i < 2; i++) { await raw.xgroup('DESTROY', 'orders', 'billing'); mode = 'bad'; await poll(c, { redis }); await claim(c, { redis: connect() }).catch(() => {}) }
    release()
    const r: any = await run.catch((e) => e.report)
    mode = 'ok'
    for (let i = 0; i < 3; i++) await claim(c, { redis })
    expect([difference(r), await pend(raw), await raw.zcard(DUE), await raw.zcard(WAITING)]).toEqual([0, [], 0, 0])
  })
})
