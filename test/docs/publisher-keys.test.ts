import { readFileSync } from 'node:fs'
import { createPublisher, promoteDelays } from 'millrace'
import { expect, it } from 'vitest'
import { changeBody } from '../support/delayed-pages.ts'
import { passDelays } from '../support/delays.ts'
import { OrderPaid, startScenario } from '../support/scenario.ts'
import { watchCommands } from '../support/watch-commands.ts'

const contributing = readFileSync(new URL('../../CONTRIBUTING.md', import.meta.url), 'utf8')
const acl = readFileSync(new URL('../../infra/redis-acl.txt', import.meta.url), 'utf8')
const [, section = ''] = /^## Keys of publishers\n([\s\S]*?)^## /m.exec(contributing) ?? []
const rows = [...section.matchAll(/^\| `([^`]+)` \|(.*)\|$/gm)].map(([, name = '', cells = '']) => ({
  name,
  cells: cells.split(' | ').map((cell) => cell.trim()),
}))

/** Names that say which of two it is, as the page writes them. */
const general = (name: string) =>
  name
    .replace(/ended:\d$/, 'ended:<n>')
    .replace(/(published::).*/, '$1<eventId>')
    .replace(/(aggregate::).*/, '$1<aggregateType>:<aggregateId>')

it('"Keys of publishers" lists every key that is written, no other', async () => {
  const { server, redis, raw } = await startScenario()
  const watch = await watchCommands(server.url)
  const publisher = createPublisher({ stream: 'orders', redis })
  for (const eventId of ['a', 'b', 'c'])
    await publisher.publish(OrderPaid, { orderId: 'o' }, { eventId, delayMs: 1_000 })
  await publisher.publish(OrderPaid, { orderId: 'o' }, { eventId: 'd', deduplicateMs: 1_000 })
  const of = { aggregateType: 'order', aggregateId: 'o' }
  await publisher.publish(OrderPaid, { orderId: 'o' }, { ...of, expectedVersion: 0 })
  await publisher.cancel('a')
  await changeBody(raw, 'b', () => Buffer.from('x'))
  await passDelays(raw, 2_000)
  await promoteDelays().promote({ redis, stream: 'orders' })

  const commands = (await watch.seen()).filter(([name = '']) => /^(hset|hsetnx|zadd|setnx|pexpireat)$/.test(name))
  const written = new Set(commands.map(([, key = '']) => general(key)))

  expect(rows.map(({ name }) => name).sort()).toEqual([...written].sort())
})

it.each(rows)('says all of $name, and names users that have these rights', ({ cells }) => {
  const lacking = [...(cells.at(-1) ?? '').matchAll(/([a-z, ]+?): `([^`]+)`/g)].flatMap(([, who = '', commands = '']) =>
    (who.match(/deduplicator|decider|delayer|promoter|console/g) ?? []).flatMap((user) => {
      const [line = ''] = new RegExp(`^user orders-${user} .*$`, 'm').exec(acl) ?? []
      return commands.split(' ').filter((command) => !line.includes(`+${command}`))
    }),
  )

  expect([cells.length, cells.every((cell) => cell.length > 0), lacking]).toEqual([5, true, []])
})
