import { appendFileSync } from 'node:fs'
import { claim, poll } from 'millrace'
import { describe, expect, it } from 'vitest'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { difference, startScenario } from '../support/scenario.ts'
import { FAULTS } from './faults.ts'
import { addMany, cons, DUE, pend, STATE, WAITING } from './kit.ts'

const OPT = { unrouted: 'park', backoff: { firstMs: 0 }, batchSize: 1000, maxDeliveries: 2, concurrency: 4 } as const

describe.each(Object.keys(FAULTS))('%s', (fault) => {
  it.each([1, 2, 3, 4, 5, 6])('at request %i of a claim', async (nth) => {
    const { redis, raw, server, connect, age, deadLetters } = await startScenario()
    const proxy = await startFaultProxy({ host: '127.0.0.1', port: Number(new URL(server.url).port) })
    const through = connect(proxy.url)
    const calls: string[] = []
    let bad = true
    const routes: any = { Paid: (e: any, k: any) => { calls.push(`${e.payload.id}/${k.deliveryCount}`); if (bad || e.payload.id.startsWith('f')) throw new Error('no') } }
    const old = cons(routes, OPT)
    const c = cons({ ...routes, Tea: routes.Paid }, OPT)
    await poll(old, { redis })
    const rows: [string, string][] = []
    for (let n = 0; n < 12; n++) rows.push(['Paid', `p${n}`], ['Tea', `t${n}`])
    rows.push(['Paid', 'f1'], ['Paid', 'f2'])
    await addMany(raw, rows)
    await poll(old, { redis })
    await claim(cons({ Nothing: () => {} }, { ...OPT, maxDeliveries: 9 }), { redis })
    bad = false
    ;(raw as any).again = () => poll(c, { redis })
    ;(raw as any).claims = () => claim(c, { redis })
    const armed = (async () => {
      for (let n = 1; n < nth; n++) (await proxy.pauseOn('')).release()
      await FAULTS[fault](proxy, raw)
    })()
    const first: any = await claim(c, { redis: through, remainingMs: 40_000 } as any).catch((error) => error.report ?? error)
    const hit = await Promise.race([armed.then(() => true), new Promise((r) => setTimeout(r, 5, false))])
    await proxy.close()
    if (process.env.SHOW) appendFileSync('/tmp/show.txt', `AFTER ${JSON.stringify([first, await pend(raw).catch(String), await raw.zrange(DUE, 0, -1, 'WITHSCORES'), await raw.hgetall(STATE), calls, rows.length])}\n`)
    await raw.config('SET', 'maxmemory', '0')
    for (const k of [DUE, WAITING, STATE]) if ((await raw.type(k)) === 'string') await raw.del(k)
    const firstCalls = [...calls]
    const later: any[] = []
    for (let n = 0; n < 6; n++) {
      await raw.del('{orders}:billing:slot:claimer-0', '{orders}:billing:slot:claimer-1')
      const groups = (await raw.xinfo('GROUPS', 'orders').catch(() => [])) as any[]
      if (groups.length > 0) await age(60_000)
      later.push(await claim(c, { redis }))
      later.push(await poll(c, { redis }))
      if (process.env.SHOW) appendFileSync('/tmp/show.txt', `LATER ${JSON.stringify([later.slice(-2), await pend(raw), await raw.zrange(DUE, 0, -1, 'WITHSCORES')])}\n`)
    }
    const letters = (await deadLetters()).map((l) => l.fields.at(-1)?.[1] ?? '').map((p) => JSON.parse(p).id)
    const handled = new Set(calls.map((x) => x.split('/')[0]))
    const problem: any = {}
    if (typeof first.read === 'number' ? difference(first) !== 0 : true) problem.report = first
    for (const r of later) if (difference(r) !== 0) problem.later = r
    if ((await pend(raw)).length > 0) problem.pending = await pend(raw)
    if (fault !== 'trim') for (const [, id] of rows) if (!handled.has(id)) problem.unhandled = [...(problem.unhandled ?? []), id]
    const lostGroup = fault.startsWith('destroy')
    if (fault !== 'trim' && (lostGroup ? new Set(letters).size < 2 : letters.toSorted().join() !== 'f1,f2')) problem.letters = letters
    for (const id of [...handled]) {
      const mine = calls.filter((x) => x.startsWith(`${id}/`))
      const most = id.startsWith('t') ? 1 : 2
      if (!lostGroup && mine.length > most) problem.calls = [...(problem.calls ?? []), mine.join(' ')]
    }
    if ((await raw.zcard(DUE)) > 0) problem.due = await raw.zrange(DUE, 0, 9, 'WITHSCORES')
    if ((await raw.zcard(WAITING)) > 0) problem.waiting = await raw.zrange(WAITING, 0, 9)
    appendFileSync('/tmp/problems.txt', `${fault} ${nth} hit=${String(hit)} ${JSON.stringify(problem)}\n`)
    expect({ hit, problem }).toEqual({ hit: expect.anything(), problem: {} })
    void firstCalls
  })
})
