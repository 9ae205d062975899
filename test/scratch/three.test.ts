import { appendFileSync } from 'node:fs'
import { claim, poll } from 'millrace'
import { describe, expect, it } from 'vitest'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { difference, startScenario } from '../support/scenario.ts'
import { passOnDue } from '../support/due.ts'
import { FAULTS } from './faults.ts'
import { addMany, cons, DUE, pend, STATE, WAITING } from './kit.ts'

const OPT = { unrouted: 'park', backoff: { firstMs: 3_600_000 }, batchSize: 1000, maxDeliveries: 5, concurrency: 200, maxPending: 100000, maxParked: 100000 } as const
const HEAL = ['cutAfter', 'cutBefore', 'destroy', 'destroyAndPoll', 'oom', 'delState', 'typeState', 'delDue', 'leaseGone', 'otherClaimer', 'takesSlot']

describe.each(HEAL)('healing, %s', (fault) => {
  it.each([1, 2, 3, 5, 7])('at request %i', async (nth) => {
    const { redis, raw, server, connect, age } = await startScenario()
    const proxy = await startFaultProxy({ host: '127.0.0.1', port: Number(new URL(server.url).port) })
    const through = connect(proxy.url)
    const calls: string[] = []
    let bad = true
    const paid = (e: any, k: any) => { if (bad) throw new Error('no'); calls.push(`${e.payload.id}/${k.deliveryCount}`) }
    const old = cons({ Paid: paid }, OPT)
    const c = cons({ Paid: paid, Tea: paid }, OPT)
    await poll(old, { redis })
    const rows = Array.from({ length: 2000 }, (_, n) => [n % 3 === 0 ? 'Tea' : 'Paid', `x${n}`] as [string, string])
    await addMany(raw, rows)
    await poll(old, { redis })
    await claim(old, { redis })
    await addMany(raw, [['Paid', 'y1'], ['Tea', 'y2']])
    await poll(old, { redis })
    await raw.xgroup('DESTROY', 'orders', 'billing')
    ;(raw as any).again = () => poll(old, { redis })
    ;(raw as any).claims = () => claim(old, { redis })
    const armed = (async () => {
      for (let n = 1; n < nth; n++) (await proxy.pauseOn('')).release()
      await FAULTS[fault](proxy, raw)
    })()
    const first: any = await claim(old, { redis: through, remainingMs: 40_000 }).catch((error) => error.report ?? error)
    const hit = await Promise.race([armed.then(() => true), new Promise((r) => setTimeout(r, 5, false))])
    await proxy.close()
    await raw.config('SET', 'maxmemory', '0')
    for (const k of [DUE, WAITING, STATE]) if ((await raw.type(k)) === 'string') await raw.del(k)
    const later: any[] = []
    bad = false
    for (let n = 0; n < 6; n++) {
      await raw.del('{orders}:billing:slot:claimer-0', '{orders}:billing:slot:claimer-1')
      const groups = (await raw.xinfo('GROUPS', 'orders').catch(() => [])) as any[]
      if (groups.length > 0) for (const [id, owner] of await pend(raw)) if (owner !== 'parked') await raw.xclaim('orders', 'billing', owner, 0, id, 'IDLE', 60_000, 'JUSTID')
      later.push(await claim(c, { redis }))
      later.push(await poll(c, { redis }))
      await passOnDue(raw, 3_600_000)
    }
    const problem: any = {}
    if (typeof first.read === 'number' ? difference(first) !== 0 : true) problem.report = String(first)
    for (const r of later) if (difference(r) !== 0) problem.later = r
    if ((await pend(raw)).length > 0) problem.pending = (await pend(raw)).length
    const handled = new Map<string, string[]>()
    for (const x of calls) { const [id, n] = x.split('/') as [string, string]; handled.set(id, [...(handled.get(id) ?? []), n]) }
    const un = [...rows.map(([, id]) => id), 'y1', 'y2'].filter((id) => !handled.has(id))
    if (un.length > 0) problem.unhandled = [un.length, un.slice(0, 5)]
    const twice = [...handled].filter(([, n]) => n.length > 1)
    if (twice.length > 0) problem.twice = [twice.length, twice.slice(0, 3)]
    const count: any = {}
    for (const [id, n] of handled) { const k = `${rows.find(([, r]) => r === id)?.[0]}/${n[0]}`; count[k] = (count[k] ?? 0) + 1 }
    if ((await raw.zcard(DUE)) > 0) problem.due = (await raw.zrange(DUE, 0, 9, 'WITHSCORES'))
    if ((await raw.zcard(WAITING)) > 0) problem.waiting = await raw.zrange(WAITING, 0, 9)
    appendFileSync('/tmp/problems.txt', `heal ${fault} ${nth} hit=${String(hit)} ${JSON.stringify(count)} ${JSON.stringify(problem)}\n`)
    expect({ hit, problem }).toEqual({ hit: expect.anything(), problem: {} })
  })
})
