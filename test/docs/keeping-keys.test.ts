import { readFileSync } from 'node:fs'
import { keepEntriesFrom, runJanitor } from 'millrace/janitor'
import { expect, it } from 'vitest'
import { startScenario } from '../support/scenario.ts'
import { watchCommands } from '../support/watch-commands.ts'

const contributing = readFileSync(new URL('../../CONTRIBUTING.md', import.meta.url), 'utf8')
const acl = readFileSync(new URL('../../infra/redis-acl.txt', import.meta.url), 'utf8')
const [, section = ''] = /^## Keys beside a stream\n([\s\S]*?)^## /m.exec(contributing) ?? []
const rows = [...section.matchAll(/^\| (`[^|]+`) \|(.*)\|$/gm)].map(([, names = '', cells = '']) => ({
  names: [...names.matchAll(/`([^`]+)`/g)].map(([, name = '']) => name),
  cells: cells.split(' | ').map((cell) => cell.trim()),
}))
const keyRows = rows.filter(({ names: [name = ''] }) => name.startsWith('{orders}'))
const fields = rows.flatMap(({ names: [name = ''], names }) => (name.startsWith('{orders}') ? [] : names))

it('"Keys beside a stream" lists every key and every field that is written, no other', async () => {
  const { server, redis, raw } = await startScenario()
  const watch = await watchCommands(server.url)
  const orders = { stream: 'orders', groups: { billing: { owner: 'team' } } }
  for (let n = 1; n < 6; n++) await raw.xadd('orders', `${n}-0`, 'a', 'b')
  await raw.xgroup('CREATE', 'orders', 'billing', '2-0')
  await raw.xreadgroup('GROUP', 'billing', 'me', 'COUNT', 1, 'STREAMS', 'orders', '>')
  await keepEntriesFrom('orders', '2-0', { redis, name: 'snapshots' })
  await runJanitor({ ...orders, groups: {}, ignoreGroups: ['billing'] }, { redis })
  await runJanitor(orders, { redis, archive: async () => {} })
  await raw.xtrim('orders', 'MAXLEN', 1)
  await runJanitor(orders, { redis, archive: async () => {} })
  await raw.xgroup('SETID', 'orders', 'billing', '$', 'ENTRIESREAD', '1')
  await runJanitor(orders, { redis })

  const commands = (await watch.seen()).filter(([name = '']) => /^(hset|hsetnx|hincrby)$/i.test(name))
  const own = commands.filter(([, key = '']) => key.startsWith('{orders}::stream::'))
  const written = own.flatMap(([name = '', key = '', ...pairs]) =>
    key.endsWith(':janitor') ? (/incr/i.test(name) ? pairs.slice(0, 1) : pairs.filter((_pair, n) => n % 2 === 0)) : [],
  )

  expect(keyRows.flatMap(({ names }) => names).sort()).toEqual([...new Set(own.map(([, key = '']) => key))].sort())
  const general = written.map((field) =>
    field.replace(/^sinceFloor:.*/, 'sinceFloor:<name>').replace(/^(since|gone|next|ahead|drift):.*/, '$1:<group>'),
  )
  expect([...fields].sort()).toEqual([...new Set(general)].sort())
})

it.each(keyRows)('says all of $names, and names users that have these rights', ({ cells }) => {
  const lacking = [...(cells.at(-1) ?? '').matchAll(/([a-z, ]+?): `([^`]+)`/g)].flatMap(([, who = '', commands = '']) =>
    (who.match(/janitor|console/g) ?? []).flatMap((user) => {
      const [line = ''] = new RegExp(`^user orders-${user} .*$`, 'm').exec(acl) ?? []
      return commands.split(' ').filter((command) => !line.includes(`+${command}`))
    }),
  )

  expect([cells.length, cells.every((cell) => cell.length > 0), lacking]).toEqual([5, true, []])
})
