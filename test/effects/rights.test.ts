import { readFileSync } from 'node:fs'
import type { HandlerContext, Report } from 'millrace'
import { effects, poll } from 'millrace'
import { expect, it } from 'vitest'
import { billing, counts, startScenario } from '../support/scenario.ts'
import { Booked, ledgerOf } from './asking.ts'

const root = new URL('../../', import.meta.url)
const [, ofPoller = ''] =
  /^user orders-poller (.*)$/m.exec(readFileSync(new URL('infra/redis-acl.txt', root), 'utf8')) ?? []
/** What the page says that is added to the user of a poller. */
const [, added = ''] = /```text\n(~[^`]*)\n```/.exec(readFileSync(new URL('docs/effects.md', root), 'utf8')) ?? []

async function report(access: string): Promise<Report> {
  const { server, raw, connect, publish } = await startScenario()
  await publish('o-1')
  await raw.set('{orders}:booked', 1)
  await raw.call('ACL', 'SETUSER', 'poller', 'reset', '>p', ...(access.match(/\([^)]*\)|\S+/g) ?? []))
  const redis = connect(server.url.replace('redis://', 'redis://poller:p@'))
  const ledger = ledgerOf(redis)
  const consumer = billing(((_event: unknown, context: HandlerContext) =>
    effects(context).publish(ledger, Booked, { orderId: 'o-1' }).increment('{orders}:booked')) as never)
  return poll(consumer, { redis }).catch((error: unknown) => (error as { report: Report }).report)
}

it('effects take place under the user of a poller with the rights that docs/effects.md adds', async () => {
  expect(counts(await report(`${ofPoller} ${added}`))).toMatchObject({ read: 1, acked: 1 })
})

it.each(['+incrby', '+xadd', '+type', '+strlen', '~{orders}:booked', '~{orders}:ledger'])(
  'effects do not take place without %s of these',
  async (right) => {
    const less = added.split(right).join(' ')
    expect(less).not.toBe(added)
    expect(await report(`${ofPoller} ${less}`)).toMatchObject({ acked: 0, unsettled: 1 })
  },
)
