import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createPublisher, orderedBy, poll } from 'millrace'
import { diagnose, inspectStreams } from 'millrace/operate'
import { expect, test } from 'vitest'
import { billing, OrderPaid, startScenario } from '../support/scenario.ts'

const LIST = join(import.meta.dirname, '../../infra/redis-acl.txt')
const PASSWORD = 'only-in-tests'

const consumer = billing(() => Promise.reject(new Error('no')), {
  use: [orderedBy(({ aggregateId }) => aggregateId)],
  backoff: { firstMs: 600_000 },
})

test('who looks sees keys that wait, and needs each right that the list gives', async () => {
  const { redis, raw, server, connect } = await startScenario()
  const list = await readFile(LIST, 'utf8')
  const [, rules = ''] = /^user orders-console on (.*)$/m.exec(list) ?? []
  const [, more = ''] = /who looks \(orders-console\) has also ((?:\+\w+ ?)+)/.exec(list) ?? []
  const rights = more.trim().split(' ')
  const publisher = createPublisher({ stream: 'orders', redis })
  // more than are inspected of a few keys, so that lanes are
  for (let hundred = 0; hundred < 11; hundred++)
    await publisher.publishMany(
      Array.from({ length: 100 }, (_, n) => [OrderPaid, { orderId: 'o' }, { aggregateId: `k${n % 2}` }] as const),
    )
  await poll(consumer, { redis })
  const look = async (given: readonly string[]) => {
    await raw.call('ACL', 'SETUSER', 'console', 'reset', 'on', `>${PASSWORD}`, ...rules.split(' '), '+info', ...given)
    const console = connect(`redis://console:${PASSWORD}@${server.host}:${server.port}`)
    const { streams } = await inspectStreams({ redis: console, streams: ['orders'] })
    const found = await diagnose(consumer, { redis: console })
    const untold = found.filter(({ severity, check }) => severity === 'unknown' && check.startsWith('ordered-'))
    return { group: streams[0]?.groups[0], untold: untold.map(({ check }) => check) }
  }

  const { group, untold } = await look(rights)
  expect([group?.unknown, untold]).toEqual([{}, []])
  expect(group?.order?.longest?.map(({ key, waiting }) => [key, waiting])).toEqual([
    ['k0', 549],
    ['k1', 549],
  ])
  expect(rights.toSorted()).toEqual(['+hlen', '+hmget', '+hscan', '+zscore'])
  for (const right of rights) {
    const less = await look(rights.filter((one) => one !== right))
    expect(less.group?.unknown).toEqual({ order: expect.stringContaining(`'${right.slice(1)}'`) })
    expect([less.group?.order?.waiting, less.untold.includes('ordered-key')]).toEqual([1_098, true])
  }
})
