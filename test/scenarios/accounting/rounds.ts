import { setImmediate as nextTurn } from 'node:timers/promises'
import type { DeadLetter } from 'millrace/operate'
import { dropDeadLetters, redriveDeadLetters } from 'millrace/operate'
import { acknowledgeWithCommandsScript } from '../../../dist/group/redis/scripts/join.js'
import { startClaimedScript } from '../../../dist/group/redis/scripts/start.js'
import { evalsha } from '../../../src/group/redis/scripts/script.ts'
import type { FaultProxy } from '../../support/fault-proxy.ts'
import { startVictim } from '../../support/start-victim.ts'
import type { Letter, Trouble } from './books.ts'
import { OrderPaid } from './journal.ts'
import { measure } from './measure.ts'
import { GROUPS, STREAM } from './server-view.ts'
import type { RunHow, Shop } from './shop.ts'
import { SETTINGS, TTL_MS } from './shop.ts'

/** A fault, and work that meets it. Nobody runs before a round and after it. */
type Round = (shop: Shop) => Promise<void>

const BILLING = ['billing'] as const
const SEARCH = ['search'] as const

/** Pollers and claimers side by side, nothing in their way. */
async function calm(shop: Shop): Promise<void> {
  await shop.publishers.publishMix(24)
  await Promise.all([shop.run('poll'), shop.run('poll', BILLING), shop.run('poll', SEARCH)])
  await shop.later()
  await Promise.all([shop.run('claim'), shop.run('claim', BILLING)])
}

/** Handlers that take all their time; there is none for what was read with them. */
async function slow(shop: Shop): Promise<void> {
  await shop.publishers.publish([
    'hangs',
    'sulks',
    'stuck',
    ['hangs', 2],
    'fine',
    'fails',
    'sulks',
    'fine',
    'stuck',
    'fine',
    'fine',
  ])
  await shop.run('poll', GROUPS, { remainingMs: 3_500 })
  await shop.later()
  await shop.run('claim')
}

async function unavailable(shop: Shop): Promise<void> {
  await shop.publishers.publish([
    'fine',
    'unavailable',
    'fine',
    'unavailable',
    ['forbidden', 2],
    'fails',
    'fine',
    'fine',
  ])
  await shop.run('poll')
  await shop.later()
  await shop.run('claim')
  await shop.run('poll')
}

/** Entries are trimmed while they are parked, while their handlers run, and once they are claimed and before they are started. */
async function trimmed(shop: Shop): Promise<void> {
  const ids = (await shop.publishers.publish(['fails', 'never', 'fails', 'later', 'fails', 'fine'])) as string[]
  await shop.run('poll')
  await shop.later()
  const isHandled = (entryId: string) => GROUPS.some((group) => shop.journal.hasHandled(group, entryId))
  await shop.trim(ids.filter((entryId) => !isHandled(entryId)).slice(0, shop.random.integer(1, 4)))
  await shop.run('claim')

  const [running] = await shop.publishers.publish(['breaks', 'waits', 'breaks'])
  await meanwhile(
    shop,
    6,
    () => shop.run('poll'),
    () => shop.trim([running as string]),
  )

  const [taken] = await shop.publishers.publish(['never', 'never'])
  await shop.run('poll')
  await shop.later()
  const { proxy, redis } = await shop.startProxy()
  const starting = proxy.pauseOn(shaOf(startClaimedScript))
  const claiming = shop.run('claim', BILLING, { redis })
  const held = await Promise.race([starting, claiming.then(() => undefined)])
  await shop.trim([taken as string])
  held?.release()
  await claiming
  // where none was started apart it was parked again, and only a claim counts what is gone: time that passes takes it along
  await shop.makeDue(BILLING)
  await shop.run('claim')
  await redis.close()
  await proxy.close()
}

/** Something else lies where a group's dead letters go. */
async function refused(shop: Shop): Promise<void> {
  const { deadLetters } = shop.consumers[shop.random.pick(GROUPS)].keys
  const aside = `${deadLetters}:aside`
  const had = await shop.raw.exists(deadLetters)
  if (had) await shop.raw.rename(deadLetters, aside)
  await shop.raw.set(deadLetters, 'no stream')
  await shop.publishers.publish(['hopeless', 'fine', 'hopeless', 'never', 'fine'])
  await shop.run('poll')
  for (let laps = 0; laps < SETTINGS.maxDeliveries; laps++) {
    await shop.later()
    await shop.run('claim')
  }
  await shop.raw.del(deadLetters)
  if (had) await shop.raw.rename(aside, deadLetters)
}

/** Connections are cut before the server has a request, so that it is sent again; for one group also after it was done. */
async function cut(shop: Shop): Promise<void> {
  const trap = (proxy: FaultProxy, mayBeDone: boolean) => {
    for (let traps = 0; traps < 3; traps++) {
      const match = shop.random.pick([ackOf(shop), ':slot:', 'evalsha', 'xreadgroup'])
      void (mayBeDone && shop.random.integer(0, 3) > 0 ? proxy.cutAfter(match) : proxy.cutBefore(match))
    }
  }
  for (const action of ['poll', 'claim'] as const) {
    await shop.publishers.publishMix(12)
    if (action === 'claim') await shop.run('poll')
    await shop.later()
    await Promise.all(
      GROUPS.map(async (group) => {
        const { proxy, redis } = await shop.startProxy()
        trap(proxy, group === 'billing')
        await shop.run(action, [group], { redis, troubles: new Set<Trouble>(['cut']) })
        await redis.close()
        await proxy.close()
      }),
    )
  }
}

/** The connection is gone while handlers run, and stays away. */
async function gone(shop: Shop): Promise<void> {
  await shop.publishers.publish(['waits', 'waits', 'breaks', 'fine', 'hopeless', 'fails'])
  const { proxy, redis } = await shop.startProxy()
  const how: RunHow = { redis, troubles: new Set<Trouble>(['cut']) }
  await meanwhile(
    shop,
    6,
    () => shop.run('poll', GROUPS, how),
    () => proxy.close(),
  )
  await shop.freeSlots()
  await shop.later()

  const again = await shop.startProxy()
  const howAgain: RunHow = { redis: again.redis, troubles: new Set<Trouble>(['cut']) }
  await meanwhile(
    shop,
    2,
    () => shop.run('claim', GROUPS, howAgain),
    () => again.proxy.close(),
  )
  await shop.freeSlots()
}

/** A poller's process is killed between handlers and ack, and then the claimer's that takes its entries over. */
async function killed(shop: Shop): Promise<void> {
  await shop.settleAll()
  const orders = await shop.publishers.publishPaid(5)
  for (const [deliveryCount, action] of [
    [1, 'poll'],
    [2, 'claim'],
  ] as const) {
    await shop.later(BILLING)
    const { proxy, redis } = await shop.startProxy()
    const held = proxy.pauseOn(ackOf(shop))
    const once = shop.once ? { ttlMs: TTL_MS } : {}
    const victim = startVictim({ url: proxy.url, action, options: SETTINGS, ...once })
    await held
    await victim.kill()
    await redis.close()
    await proxy.close()
    await shop.freeSlots()
    const requestId = shop.requestId('killed')
    shop.killed.push(requestId)
    for (const { entryId, eventId } of orders.filter(({ orderId }) => victim.handled.includes(orderId)))
      shop.journal.note({
        requestId,
        group: 'billing',
        entryId,
        eventType: OrderPaid.type,
        eventId,
        deliveryCount,
        ending: 'succeeded',
      })
  }
}

/** A group is destroyed while a poller holds some of it. */
async function lost(shop: Shop): Promise<void> {
  const group = 'billing'
  await shop.run('claim')
  await shop.publishers.publish(['fails', 'fine', 'later', 'never'])
  await shop.run('poll')
  await shop.publishers.publish(['waits', 'fine', 'breaks', 'hopeless', 'waits'])
  const others: Promise<unknown>[] = []
  const troubles = new Set<Trouble>(['orphaned'])
  // it is found by a poller beside the one that holds entries, or by that one
  const isFound = shop.random.integer(0, 2) === 0
  await meanwhile(
    shop,
    3,
    () => shop.run('poll', BILLING, { troubles }),
    async () => {
      const { state } = shop.consumers[group].keys
      const mark = String(await shop.raw.hget(state, 'mark'))
      const rows = (await shop.raw.xpending(STREAM, group, '-', mark, 1_000, 'parked')) as [string][]
      const kept = rows.map(([id]) => id)
      const pending = (await shop.server.pending(group)).filter((id) => !kept.includes(id))
      const { 'last-delivered-id': last } = await shop.server.info(group)
      const comeAgain = await shop.server.idsBetween(`(${mark}`, String(last))
      await shop.raw.xgroup('DESTROY', STREAM, group)
      shop.lostGroups.push({ group, mark, pending, kept, comeAgain })
      shop.beginLife(group)
      if (!isFound) return
      others.push(shop.run('poll', BILLING, { troubles }))
      while ((await shop.server.info(group)).name === undefined) await nextTurn()
    },
  )
  await Promise.all(others)
  await shop.run('poll', BILLING)
}

/** A poller finds every slot taken. */
async function busy(shop: Shop): Promise<void> {
  await shop.publishers.publish(['waits', 'fine', 'waits'])
  await meanwhile(
    shop,
    2,
    () => shop.run('poll', SEARCH),
    () => shop.run('poll', SEARCH),
  )
}

/** A claimer takes what a poller still runs; one of the two is done before the other. */
async function robbed(shop: Shop): Promise<void> {
  await shop.publishers.publish(['waits', 'breaks', 'waits', ['breaks', 2]])
  const troubles = new Set<Trouble>(['robbed'])
  const isClaimerFirst = shop.random.integer(0, 2) === 0
  const claims: Promise<unknown>[] = []
  await meanwhile(
    shop,
    4,
    () => shop.run('poll', BILLING, { troubles }),
    async (open) => {
      await shop.later(BILLING)
      if (!isClaimerFirst) return void claims.push(shop.run('claim', BILLING, { troubles }))
      open()
      await shop.run('claim', BILLING, { troubles })
    },
  )
  await Promise.all(claims)
}

/** Operators redrive some dead letters, and drop some. */
async function redriven(shop: Shop): Promise<void> {
  for (const group of GROUPS) {
    const consumer = shop.consumers[group]
    const { redis } = shop.scenario
    await redriveDeadLetters(consumer, {
      redis,
      reasons: ['non-retryable', 'max-deliveries', 'crashed', 'unrouted'],
      limit: shop.random.integer(4, 12),
      onProgress: ({ done }) => {
        for (const { letter, outcome } of done) {
          if (outcome !== 'redriven' || letter.problem !== undefined) continue
          shop.beginLife(group, letter.entryId)
          if (shop.random.integer(0, 2) === 0) shop.mend(letter.entryId)
          shop.operated.push({ group, letter: letterOf(letter), outcome })
        }
      },
    })
    await dropDeadLetters(consumer, {
      redis,
      reasons: ['malformed', 'invalid', 'oversize'],
      limit: 2,
      onProgress: ({ done }) => {
        for (const { letter, outcome } of done)
          if (outcome === 'dropped' && letter.problem === undefined)
            shop.operated.push({ group, letter: letterOf(letter), outcome })
      },
    })
  }
  await shop.run('claim')
}

/** Publishers' requests fail: one is no event, one is refused, one is cut off and sent again, one never gets there. */
async function unpublished(shop: Shop): Promise<void> {
  await shop.publishers.publishEvents([[OrderPaid, { orderId: 1 }]])
  await shop.raw.config('SET', 'maxmemory', '1')
  await shop.publishers.publish(['fine', 'fine'])
  await shop.raw.config('SET', 'maxmemory', '0')
  const { proxy, redis } = await shop.startProxy()
  void proxy.cutAfter('xadd')
  await shop.publishers.publish(['fine', 'fails', 'fine'], redis)
  await proxy.close()
  await shop.publishers.publish(['fine'], redis)
  await shop.run('poll')
}

/** A claim measures what is before its groups: a few entries, and many with a gap that the server cannot count across. */
async function measured(shop: Shop): Promise<void> {
  await shop.publishers.publish(['fails', 'later', 'fails'])
  await shop.run('poll')
  await shop.publishers.publish(['fine', 'fine', 'fine', 'fine'])
  await measure(shop)
  const ids = await shop.publishers.publish(Array.from({ length: 10 }, () => 'fine'))
  await measure(shop)
  await shop.trim([ids[4] as string])
  await measure(shop)
}

export const ROUNDS: readonly Round[] = [
  calm,
  slow,
  unavailable,
  trimmed,
  refused,
  cut,
  gone,
  killed,
  lost,
  busy,
  robbed,
  redriven,
  unpublished,
  measured,
]

/** Runs what enters the gate, and does something as soon as so many handlers are within; then opens it, and waits for the run. */
async function meanwhile(
  shop: Shop,
  count: number,
  run: () => Promise<unknown>,
  act: (open: () => void) => Promise<unknown>,
): Promise<void> {
  const gate = shop.closeGate(count)
  const running = run()
  // on a machine that is too slow for it their time is over before they all are within
  await Promise.race([gate.entered, running])
  await act(gate.open)
  gate.open()
  await running
}

/** What a request holds that acknowledges. */
function ackOf({ once }: Shop): string {
  return once ? shaOf(acknowledgeWithCommandsScript) : 'xack'
}

function shaOf(script: Parameters<typeof evalsha>[0]): string {
  return String(evalsha(script, '', [], [])[1])
}

function letterOf({ id, entryId, reason, eventType }: DeadLetter): Letter {
  return { id, entryId, reason, eventType }
}
