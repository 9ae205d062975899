import { appendFileSync } from 'node:fs'
import { Redis } from 'ioredis'
import { claim, defineConsumer, defineEvent, definePolicy, on, poll, UnavailableError } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { connect as connectUrl } from 'millrace/connect'
import { describe, expect, it, onTestFinished } from 'vitest'
import * as z from 'zod/mini'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { startRestServer } from '../support/rest-server.ts'
import { startVictim } from '../support/start-victim.ts'
import { counts as all, difference, startScenario } from '../support/scenario.ts'
import { passOnDue } from '../support/due.ts'
import { FAULTS } from './faults.ts'
import { add, addMany, cons, DUE, pend, STATE, waits, WAITING } from './kit.ts'
const counts = (r: any) => { const { drained, batches, invoked, throttled, ...rest } = all(r); return rest }
const OPT = { unrouted: 'park', backoff: { firstMs: 0 }, batchSize: 1000, maxDeliveries: 2 } as const

describe.each(['cutAfter', 'cutBefore', 'destroy', 'destroyAndPoll', 'oom', 'delDue', 'delWaiting', 'delState', 'typeDue', 'typeWaiting', 'leaseGoneP', 'otherClaimer', 'takesSlotP'])('poll, %s', (fault) => {
  it.each([1, 2, 3, 4])('at request %i', async (nth) => {
    const { redis, raw, server, connect, age, deadLetters } = await startScenario()
    const proxy = await startFaultProxy({ host: '127.0.0.1', port: Number(new URL(server.url).port) })
    const calls: string[] = []
    let bad = true
    const routes: any = { Paid: (e: any, k: any) => { calls.push(`${e.payload.id}/${k.deliveryCount}`); if (bad || e.payload.id.startsWith('f')) throw new Error('no') } }
    const called = new Set<string>()
    const old = cons(routes, { ...OPT, use: [waits(called)], batchSize: 10 })
    const c = cons({ ...routes, Tea: routes.Paid }, { ...OPT, use: [waits(called)] })
    await poll(old, { redis })
    await claim(old, { redis })
    const rows: [string, string][] = []
    for (let n = 0; n < 10; n++) rows.push(['Paid', `p${n}`], ['Tea', `t${n}`], ['Paid', `w${n}`])
    rows.push(['Paid', 'f1'], ['Paid', 'f2'])
    await addMany(raw, rows)
    ;(raw as any).again = () => poll(old, { redis })
    ;(raw as any).claims = () => claim(old, { redis })
    const more: any = {
      leaseGoneP: async (proxy: any) => { const h = await proxy.pauseOn(''); await raw.del('{orders}:billing:slot:poller-0'); h.release() },
      takesSlotP: async (proxy: any) => { const h = await proxy.pauseOn(''); await raw.del('{orders}:billing:slot:poller-0'); await poll(old, { redis }); h.release() },
    }
    const armed = (async () => {
      for (let n = 1; n < nth; n++) (await proxy.pauseOn('')).release()
      await (FAULTS[fault] ?? more[fault])(proxy, raw)
    })()
    const first: any = await poll(old, { redis: connect(proxy.url), remainingMs: 40_000 }).catch((error) => error.report ?? error)
    const hit = await Promise.race([armed.then(() => true), new Promise((r) => setTimeout(r, 5, false))])
    await proxy.close()
    await raw.config('SET', 'maxmemory', '0')
    for (const k of [DUE, WAITING, STATE]) if ((await raw.type(k)) === 'string') await raw.del(k)
    bad = false
    for (let n = 0; n < 10; n++) called.add(`w${n}`)
    const later: any[] = []
    for (let n = 0; n < 6; n++) {
      for (const k of ['claimer-0', 'claimer-1', 'poller-0', 'poller-1']) await raw.del(`{orders}:billing:slot:${k}`)
      if (((await raw.xinfo('GROUPS', 'orders').catch(() => [])) as any[]).length > 0) await age(60_000)
      later.push(await claim(c, { redis }))
      later.push(await poll(c, { redis }))
    }
    const letters = (await deadLetters()).map((l) => l.fields.at(-1)?.[1] ?? '').map((p) => JSON.parse(p).id)
    const problem: any = {}
    if (typeof first.read === 'number' ? difference(first) !== 0 : true) problem.report = String(first)
    for (const r of later) if (difference(r) !== 0) problem.later = r
    if ((await pend(raw)).length > 0) problem.pending = await pend(raw)
    const lostGroup = fault.startsWith('destroy')
    const at = (id: string) => calls.filter((x) => x.startsWith(`${id}/`))
    for (const [, id] of rows) {
      const mine = at(id)
      if (mine.length === 0) (problem.unhandled ??= []).push(id)
      if (!lostGroup && mine.length > (id[0] === 't' || id[0] === 'w' ? 1 : 2)) (problem.calls ??= []).push(mine.join(' '))
      if (!lostGroup && new Set(mine).size < mine.length) (problem.same ??= []).push(mine.join(' '))
    }
    if (lostGroup ? new Set(letters).size < 2 : letters.toSorted().join() !== 'f1,f2') problem.letters = letters
    if ((await raw.zcard(DUE)) > 0) problem.due = await raw.zrange(DUE, 0, 9, 'WITHSCORES')
    if ((await raw.zcard(WAITING)) > 0) problem.waiting = await raw.zrange(WAITING, 0, 9)
    appendFileSync('/tmp/problems.txt', `poll ${fault} ${nth} hit=${String(hit)} ${JSON.stringify(problem)}\n`)
    expect(problem).toEqual({})
  })
})

const CLIENTS: Record<string, (url: string) => Promise<any>> = {
  resp3: async (url) => connectIoredis(`${url}?protocol=3`).valueOf(),
  rest: async (url) => { const s = await startRestServer({ redisUrl: url, token: 't' }); onTestFinished(() => (s as any).close?.() ?? (s as any).stop?.()); return connectUrl((s as any).url.replace('http://', 'http://default:t@')) },
}
describe('clients', () => {
  it.each(['prefix', 'rest'])('%s: 150 conditions, group lost, last deliveries', async (kind) => {
    const { redis: plain, raw, server } = await startScenario()
    let redis: any = plain
    let P = ''
    if (kind === 'prefix') { P = 'pre:'; redis = connectIoredis(() => new Redis(server.url, { keyPrefix: P })); onTestFinished(() => redis.close()) }
    if (kind === 'rest') {
      const s: any = await startRestServer({ redisUrl: server.url, token: 'tok' }); onTestFinished(() => s.close?.() ?? s.stop?.())
      const { connectUpstash } = await import('millrace/upstash')
      redis = connectUpstash({ url: s.url, token: 'tok' } as any); onTestFinished(() => redis.close())
    }
    const calls: string[] = []
    const fail = (e: any, k: any) => { calls.push(`${e.payload.id}/${k.deliveryCount}`); throw new Error('no') }
    const old = cons({ Paid: fail }, OPT)
    await poll(old, { redis })
    const p = raw.pipeline()
    for (let n = 0; n < 150; n++) p.xadd(`${P}orders`, '*', 'eventType', `T${String(n).padStart(3, '0')}`, 'payload', JSON.stringify({ id: `t${n}` }))
    for (let n = 0; n < 20; n++) p.xadd(`${P}orders`, '*', 'eventType', 'Paid', 'payload', JSON.stringify({ id: `p${n}` }))
    await p.exec()
    await poll(old, { redis })
    await claim(cons({ Zed: () => {} }, { ...OPT, maxDeliveries: 9 }), { redis })
    await raw.xgroup('DESTROY', `${P}orders`, 'billing')
    const c = cons({ Paid: fail, T003: (e) => calls.push(e.payload.id), T140: (e) => calls.push(e.payload.id) }, OPT)
    const rs: any[] = []
    for (let i = 0; i < 4; i++) rs.push(await claim(c, { redis }))
    const letters = await raw.xlen(`${P}{orders}:billing:dlq`)
    const left = (await raw.xpending(`${P}orders`, 'billing', '-', '+', 1000)) as any[]
    expect([rs.map(difference), calls.filter((x) => x.startsWith('t')).toSorted(), calls.filter((x) => x.startsWith('p')).length, letters, left.length, new Set(left.map((x) => x[1]))]).toEqual([[0, 0, 0, 0], ['t140', 't3'], 40, 20, 148, new Set(['parked'])])
  })
  it('old and new deployments side by side, versions', async () => {
    const { redis, raw } = await startScenario()
    const v = (n: number) => defineEvent('Ver', { version: n, payload: z.object({ id: z.string() }), ...(n > 1 && { upcast: Object.fromEntries(Array.from({ length: n - 1 }, (_, i) => [i + 1, (o: any) => o])) }) } as any)
    const calls: string[] = []
    const mk = (n: number) => defineConsumer({ stream: 'orders', group: 'billing', ...OPT, routes: [on(v(n) as any, (e: any, k: any) => void calls.push(`${n}:${e.payload.id}/${k.deliveryCount}`))] })
    const [one, two] = [mk(1), mk(2)]
    await poll(one, { redis })
    const p = raw.pipeline()
    for (let n = 1; n <= 12; n++) p.xadd('orders', '*', 'eventType', 'Ver', 'schemaVersion', String(n), 'version', String(n), 'payload', JSON.stringify({ id: `v${n}` }))
    await p.exec()
    await poll(one, { redis })
    const rs: any[] = []
    for (let i = 0; i < 3; i++) { rs.push(counts(await claim(one, { redis })), counts(await claim(two, { redis }))) }
    await claim(mk(10), { redis })
    expect([rs.slice(2), calls.length, (await pend(raw)).length]).toEqual([[{}, {}, {}, {}], 10, 2])
  })
  it.each([1, 2, 3])('a claimer killed with taken entries, %i', async (k) => {
    const { redis, raw, server, publish, age, deadLetters, pending } = await startScenario()
    const opt = { backoff: { firstMs: 0 }, maxDeliveries: 4, concurrency: 5, batchSize: 100 } as const
    const { billing } = await import('../support/consumer.ts')
    const calls: string[] = []
    let bad = true
    const c = billing(((e: any, x: any) => { calls.push(`${e.payload.orderId}/${x.deliveryCount}`); if (bad) throw new Error('no') }) as any, opt)
    await poll(c, { redis })
    await publish(...Array.from({ length: 40 }, (_, n) => `o${n}`), 'poison')
    await poll(c, { redis })
    await claim(cons({ Zed: () => {} }, { unrouted: 'park' }), { redis })
    if (k === 3) await raw.xgroup('DESTROY', 'orders', 'billing')
    const victim = startVictim({ url: server.url, action: 'claim', options: opt, poison: 'poison', death: k === 1 ? 'exit' : 'hang' })
    await victim.poisoned
    if (k === 2) await victim.kill()
    if (k === 3) { await raw.xgroup('DESTROY', 'orders', 'billing'); await victim.kill() }
    await victim.exit
    bad = false
    const rs: any[] = []
    for (let i = 0; i < 4; i++) { await raw.del('{orders}:billing:slot:claimer-0'); if (((await raw.xinfo('GROUPS', 'orders')) as any[]).length > 0) await age(60_000); rs.push(await claim(c, { redis })) }
    const twice = Array.from({ length: 40 }, (_, n) => `o${n}`).filter((o) => calls.filter((x) => x.startsWith(`${o}/`)).length > 2)
    expect([rs.map(difference), await pending(), await deadLetters(), twice, await raw.zcard(DUE), await raw.zcard(WAITING)]).toEqual([[0, 0, 0, 0], [], [], [], 0, 0])
    expect(calls.filter((x) => x.startsWith('poison')).length).toBeGreaterThan(1)
  })
  it('guards: all and values, with due and waiting, wrong types', async () => {
    const { redis, raw } = await startScenario()
    const calls: string[] = []
    const guard = definePolicy({ name: 'g', guard: () => ({ key: '{orders}:closed', holds: 'types' }) } as any)
    let bad = true
    const c = cons({ Paid: (e) => { if (bad) throw new Error('no'); calls.push(e.payload.id) }, Tea: (e) => { if (bad) throw new Error('no'); calls.push(e.payload.id) } }, { ...OPT, use: [guard] })
    await poll(c, { redis })
    await addMany(raw, Array.from({ length: 1500 }, (_, n) => [n < 1300 ? 'Paid' : 'Tea', `x${n}`] as [string, string]))
    await poll(c, { redis })
    bad = false
    await raw.sadd('{orders}:closed', 'Paid')
    const r1 = await claim(c, { redis })
    const r1b = await claim(c, { redis })
    await raw.del('{orders}:closed'); await raw.set('{orders}:closed', 'x')
    const n1 = calls.length
    const r2 = await claim(c, { redis })
    const r3 = await claim(c, { redis })
    expect([n1, difference(r1), counts(r1b), difference(r2), calls.length, new Set(calls).size, (await pend(raw)).length]).toEqual([200, 0, {}, 0, 1500, 1500, 0])
    void r3
  })
  it('redrive of letters that were set aside before; zombie settles what was taken', async () => {
    const { redis, raw, connect } = await startScenario()
    let mode = 'bad'
    const calls: string[] = []
    let release = () => {}
    const gate = new Promise<void>((r) => { release = r })
    let started = () => {}
    const began = new Promise<void>((r) => { started = r })
    const c = cons({ Paid: async (e, k) => { calls.push(`${e.payload.id}/${k.deliveryCount}`); if (mode === 'slow') { started(); await gate; throw new Error('late') } if (mode === 'bad') throw new Error('no') } }, { ...OPT, maxDeliveries: 5 })
    await poll(c, { redis })
    await addMany(raw, [['Paid', 'a']])
    await poll(c, { redis })
    mode = 'slow'
    const zombie = claim(c, { redis: connect() })
    await began
    const [[id, owner]] = (await pend(raw)) as any
    await raw.del('{orders}:billing:slot:claimer-0')
    await raw.xclaim('orders', 'billing', owner, 0, id, 'IDLE', 100_000, 'JUSTID')
    mode = 'bad'
    await claim(c, { redis })
    const p = await pend(raw)
    release()
    const z: any = await zombie.catch((e) => e.report)
    const p2 = await pend(raw)
    mode = 'ok'
    await claim(c, { redis })
    expect([p, p2, difference(z), calls, await pend(raw), await raw.zcard(DUE)]).toEqual([[[id, 'parked', 3]], [[id, 'parked', 3]], 0, ['a/1', 'a/2', 'a/3', 'a/4'], [], 0])
  })
})
