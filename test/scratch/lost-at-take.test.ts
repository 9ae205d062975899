import { claim, poll } from 'millrace'
import { expect, it } from 'vitest'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { startScenario } from '../support/scenario.ts'
import { add, cons } from './kit.ts'

it('a group lost just before a take keeps what waited for a condition', async () => {
  const { redis, raw, server, connect } = await startScenario()
  const proxy = await startFaultProxy({ host: '127.0.0.1', port: Number(new URL(server.url).port) })
  const OPT = { unrouted: 'park' } as const
  const old = cons({ Paid: () => {} }, OPT)
  const calls: string[] = []
  const c = cons({ Tea: (e) => calls.push(e.payload.id) }, OPT)
  await poll(old, { redis })
  await add(raw, 'Tea', 'x1')
  await poll(old, { redis })
  await claim(old, { redis })
  const lose = proxy.pauseOn('unrouted Tea').then(async (held) => {
    await raw.xgroup('DESTROY', 'orders', 'billing')
    held.release()
  })
  await claim(c, { redis: connect(proxy.url) }).catch(() => {})
  await lose
  await proxy.close()
  for (let n = 0; n < 3; n++) await claim(c, { redis })
  expect(calls).toEqual(['x1'])
})
