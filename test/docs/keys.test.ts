import { readFileSync } from 'node:fs'
import type { Connection, Consumer, Policy } from 'millrace'
import { createPoller, createPublisher, definePolicy, NonRetryableError, poll } from 'millrace'
import { repairIndexes } from 'millrace/operate'
import { describe, expect, it } from 'vitest'
import type { Group, Slot } from '../../src/group/group.ts'
import { claimOnce } from '../support/claim-once.ts'
import { billing, names, OrderPaid, type Scenario, startScenario } from '../support/scenario.ts'
import { watchCommands } from '../support/watch-commands.ts'

const contributing = readFileSync(new URL('../../CONTRIBUTING.md', import.meta.url), 'utf8')
const acl = readFileSync(new URL('../../infra/redis-acl.txt', import.meta.url), 'utf8')
const [, section = ''] = /^## Keys beside a group\n([\s\S]*?)^## /m.exec(contributing) ?? []
const rows = [...section.matchAll(/^\| `([^`]+)` \|(.*)\|$/gm)].map(([, name = '', cells = '']) => ({
  name,
  cells: cells.split(' | ').map((cell) => cell.trim()),
}))
const keyRows = rows.filter(({ name }) => name.startsWith('{orders}:'))
const fieldRows = rows.filter(({ name }) => !name.startsWith('{orders}:'))

const PREFIX = '{orders}:billing:'
const STATE = `${PREFIX}state`

/** What `x@…` names is waited for. */
const closed: Policy = definePolicy({
  name: 'closed',
  begin: () => ({
    admit: (jobs) =>
      jobs.map(({ event }) => {
        const [, until] = (event as { payload: { orderId: string } }).payload.orderId.split('@')
        return until === undefined ? undefined : { action: 'park', until }
      }),
    isOver: (until) => until === 'over',
  }),
})

const consumer = billing(
  (event) => {
    const { orderId } = (event as { payload: { orderId: string } }).payload
    if (orderId.startsWith('hopeless')) throw new NonRetryableError('hopeless')
    if (orderId.startsWith('fails')) throw new Error('down')
  },
  { use: [closed], backoff: { firstMs: 0 }, deadLetters: { maxLength: 1 } },
)

/** Everything that writes beside a group: each kind of outcome, a lost group, a lost index, a read in doubt. */
async function everything({ redis, raw, publish }: Scenario): Promise<void> {
  const wake = { group: 'billing', windowMs: 60_000, wake: async () => {}, onError: () => {} }
  await createPublisher({ stream: 'orders', redis, wake }).publish(OrderPaid, { orderId: 'fine' })
  await publish('hopeless-0', 'hopeless-1', 'a@north', 'b@over', ...names('fails', 600))
  await createPoller(consumer, { redis, wake })()
  await claimOnce(consumer, { redis })
  await raw.xgroup('DESTROY', 'orders', 'billing')
  await poll(consumer, { redis })
  await claimOnce(consumer, { redis })
  await raw.del(`${PREFIX}due`)
  await repairIndexes(consumer, { redis })
  await publish('last')
  await leaveInDoubt(redis, consumer)
}

async function leaveInDoubt(redis: Connection, { stream, group: name, keys, settings }: Consumer): Promise<void> {
  const group = (redis as unknown as { group(address: object): Group }).group({ stream, group: name, keys, settings })
  const take = async () => (await group.takeSlot('poller', settings.maxPollers, 60_000)) as Slot
  const slot = await take()
  const { entries } = await group.settleAndRead(slot, [], { count: 1 })
  const known = entries.map(({ id }) => id)
  const end = { known, turn: 2, isInDoubt: true, hasAcked: false, takesFlag: false }
  await group.settle(slot, [], { known, turn: 1 })
  await group.giveSlot(slot, end)
  await group.giveSlot(await take(), end)
}

/** Names that say whose something is, as the page writes them. */
const general = (name: string) => name.replace(/(poller|claimer)-\d+$/, '<name>')

describe('"Keys beside a group" in CONTRIBUTING', () => {
  it('lists every key and every field of the state that is written, no other', async () => {
    const scenario = await startScenario()
    const watch = await watchCommands(scenario.server.url)
    await everything(scenario)
    // what only lives for a moment is among what was written
    const commands = await watch.seen()
    const written = commands.filter(([name = '']) => /^(hset|hsetnx|zadd|xadd|setnx|set)$/.test(name))
    const keys = written.flatMap(([, key = '']) => (key.startsWith(PREFIX) ? [general(key)] : []))
    const fields = written.flatMap(([name, key, ...pairs]) =>
      key === STATE && name?.startsWith('h') ? pairs.filter((_field, n) => n % 2 === 0).map(general) : [],
    )
    const left = (await scenario.raw.keys('*')).filter((key) => key !== 'orders').map(general)

    expect(keyRows.map(({ name }) => name).sort()).toEqual([...new Set(keys)].sort())
    expect(fieldRows.map(({ name }) => name).sort()).toEqual([...new Set(fields)].sort())
    expect(keyRows.map(({ name }) => name)).toEqual(expect.arrayContaining(left))
  })

  it.each(keyRows)('says all of the key $name', ({ cells }) => {
    expect(cells).toHaveLength(5)
    expect(cells.every((cell) => cell.length > 0)).toBe(true)
  })

  it.each(fieldRows)('says all of the field $name', ({ cells }) => {
    expect(cells).toHaveLength(4)
    expect(cells.every((cell) => cell.length > 0)).toBe(true)
  })

  it.each(keyRows)('names users of the ACL file that have these rights on $name', ({ cells }) => {
    const lacking = [...(cells.at(-1) ?? '').matchAll(/([a-z, ]+?)(?: also)?:? `([^`]+)`/g)].flatMap(
      ([, who = '', commands = '']) =>
        (who.match(/poller|claimer|operator|console|publisher/g) ?? []).flatMap((user) => {
          const [line = ''] = new RegExp(`^user orders-${user} .*$`, 'm').exec(acl) ?? []
          return commands
            .split(' ')
            .filter((command) => !line.includes(`+${command}`))
            .map((command) => `${user} ${command}`)
        }),
    )

    expect(lacking).toEqual([])
  })
})
