import { hash } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { NonRetryableError, poll } from 'millrace'
import { expect, test } from 'vitest'
import { claimOnce } from '../support/claim-once.ts'
import { billing, startScenario } from '../support/scenario.ts'
import { watchCommands } from '../support/watch-commands.ts'

const SCRIPTS = join(import.meta.dirname, '../../src/group/redis/scripts')

/** What a client sends, a line for each command, without what differs from run to run; recorded when what is set aside got its index. */
const BEFORE = {
  polled: [
    'evalsha takeSlotScript 9 {orders}:billing:wake orders {orders}:billing:due {orders}:billing:state {orders}:billing:paused {orders}:billing:slot:poller-0 {orders}:billing:slot:poller-1 {orders}:billing:slot:poller-2 {orders}:billing:slot:poller-3 TOKEN MS 1 billing poller-0 poller-1 poller-2 poller-3',
    'eval takeSlotScript 9 {orders}:billing:wake orders {orders}:billing:due {orders}:billing:state {orders}:billing:paused {orders}:billing:slot:poller-0 {orders}:billing:slot:poller-1 {orders}:billing:slot:poller-2 {orders}:billing:slot:poller-3 TOKEN MS 1 billing poller-0 poller-1 poller-2 poller-3',
    'evalsha readUnlessPendingLimit 6 orders {orders}:billing:slot:poller-0 {orders}:billing:due {orders}:billing:wake {orders}:billing:paused {orders}:billing:state billing poller-0 TOKEN MS MS 2 MS MS 2',
    'eval readUnlessPendingLimit 6 orders {orders}:billing:slot:poller-0 {orders}:billing:due {orders}:billing:wake {orders}:billing:paused {orders}:billing:state billing poller-0 TOKEN MS MS 2 MS MS 2',
    'evalsha createGroupScript 2 orders {orders}:billing:state billing 0 0',
    'eval createGroupScript 2 orders {orders}:billing:state billing 0 0',
    'evalsha readUnlessPendingLimit 6 orders {orders}:billing:slot:poller-0 {orders}:billing:due {orders}:billing:wake {orders}:billing:paused {orders}:billing:state billing poller-0 TOKEN MS MS 2 MS MS 2',
    'xack orders billing id1 id2',
    'xreadgroup GROUP billing poller-0 COUNT 2 STREAMS orders >',
    'mget {orders}:billing:slot:poller-0 {orders}:billing:paused',
    'xreadgroup GROUP billing poller-0 COUNT 2 STREAMS orders >',
    'mget {orders}:billing:slot:poller-0 {orders}:billing:paused',
    'evalsha settleEntriesScript 4 orders {orders}:billing:slot:poller-0 {orders}:billing:due {orders}:billing:waiting billing poller-0 TOKEN  aside id3 1 0 1 0 ',
    'evalsha settleEntriesScript 6 orders {orders}:billing:slot:poller-0 {orders}:billing:due {orders}:billing:waiting {orders}:billing:dlq {orders}:billing:state billing poller-0 TOKEN MS dead id4 1 30 originalStream orders originalId id4 group billing consumer poller-0 eventId TOKEN eventType OrderPaid schemaVersion 1 reason non-retryable errorName NonRetryableError errorMessage hopeless errorStack NonRetryableError: hopeless… deliveryCount 1 lastDeliveredAt DATE failedAt DATE traceparent ',
    'evalsha readUnlessPendingLimit 6 orders {orders}:billing:slot:poller-0 {orders}:billing:due {orders}:billing:wake {orders}:billing:paused {orders}:billing:state billing poller-0 TOKEN MS MS 2 MS MS 0',
    'eval settleEntriesScript 4 orders {orders}:billing:slot:poller-0 {orders}:billing:due {orders}:billing:waiting billing poller-0 TOKEN  aside id3 1 0 1 0 ',
    'eval settleEntriesScript 6 orders {orders}:billing:slot:poller-0 {orders}:billing:due {orders}:billing:waiting {orders}:billing:dlq {orders}:billing:state billing poller-0 TOKEN MS dead id4 1 30 originalStream orders originalId id4 group billing consumer poller-0 eventId TOKEN eventType OrderPaid schemaVersion 1 reason non-retryable errorName NonRetryableError errorMessage hopeless errorStack NonRetryableError: hopeless… deliveryCount 1 lastDeliveredAt DATE failedAt DATE traceparent ',
    'evalsha finishPollerRunScript 5 orders {orders}:billing:slot:poller-0 {orders}:billing:due {orders}:billing:state {orders}:billing:wake billing poller-0 TOKEN MS MS 1 0 -',
    'eval finishPollerRunScript 5 orders {orders}:billing:slot:poller-0 {orders}:billing:due {orders}:billing:state {orders}:billing:wake billing poller-0 TOKEN MS MS 1 0 -',
  ],
  retried: [
    'evalsha takeSlotScript 7 {orders}:billing:wake orders {orders}:billing:due {orders}:billing:state {orders}:billing:paused {orders}:billing:slot:claimer-0 {orders}:billing:slot:claimer-1 TOKEN MS 0 billing claimer-0 claimer-1',
    'evalsha claimPageScript 7 orders {orders}:billing:due {orders}:billing:waiting {orders}:billing:state {orders}:billing:paused {orders}:billing:slot:claimer-0 {orders}:billing:slot:claimer-1 billing TOKEN MS  5 claimer-0 claimer-1',
    'eval claimPageScript 7 orders {orders}:billing:due {orders}:billing:waiting {orders}:billing:state {orders}:billing:paused {orders}:billing:slot:claimer-0 {orders}:billing:slot:claimer-1 billing TOKEN MS  5 claimer-0 claimer-1',
    'evalsha takeSetAsideScript 6 orders {orders}:billing:slot:claimer-0 {orders}:billing:due {orders}:billing:waiting {orders}:billing:state {orders}:billing:paused billing claimer-0 TOKEN TOKEN 1 MS 3  eventType 0',
    'eval takeSetAsideScript 6 orders {orders}:billing:slot:claimer-0 {orders}:billing:due {orders}:billing:waiting {orders}:billing:state {orders}:billing:paused billing claimer-0 TOKEN TOKEN 1 MS 3  eventType 0',
    'evalsha settleEntriesScript 4 orders {orders}:billing:slot:claimer-0 {orders}:billing:due {orders}:billing:waiting billing claimer-0 TOKEN  aside id3 2 0 2 0 ',
    'evalsha finishClaimerRunScript 5 orders {orders}:billing:slot:claimer-0 {orders}:billing:due {orders}:billing:waiting {orders}:billing:state billing claimer-0 TOKEN 0-0 0',
    'xinfo CONSUMERS orders billing',
    'evalsha measureBacklogScript 7 orders {orders}:billing:dlq {orders}:billing:state {orders}:billing:slot:poller-0 {orders}:billing:slot:poller-1 {orders}:billing:slot:poller-2 {orders}:billing:slot:poller-3 billing',
    'evalsha giveSlotBackScript 1 {orders}:billing:slot:claimer-0 TOKEN',
    'eval finishClaimerRunScript 5 orders {orders}:billing:slot:claimer-0 {orders}:billing:due {orders}:billing:waiting {orders}:billing:state billing claimer-0 TOKEN 0-0 0',
    'eval measureBacklogScript 7 orders {orders}:billing:dlq {orders}:billing:state {orders}:billing:slot:poller-0 {orders}:billing:slot:poller-1 {orders}:billing:slot:poller-2 {orders}:billing:slot:poller-3 billing',
    'eval giveSlotBackScript 1 {orders}:billing:slot:claimer-0 TOKEN',
  ],
  last: [
    'evalsha takeSlotScript 7 {orders}:billing:wake orders {orders}:billing:due {orders}:billing:state {orders}:billing:paused {orders}:billing:slot:claimer-0 {orders}:billing:slot:claimer-1 TOKEN MS 0 billing claimer-0 claimer-1',
    'evalsha claimPageScript 7 orders {orders}:billing:due {orders}:billing:waiting {orders}:billing:state {orders}:billing:paused {orders}:billing:slot:claimer-0 {orders}:billing:slot:claimer-1 billing TOKEN MS  5 claimer-0 claimer-1',
    'evalsha takeSetAsideScript 6 orders {orders}:billing:slot:claimer-0 {orders}:billing:due {orders}:billing:waiting {orders}:billing:state {orders}:billing:paused billing claimer-0 TOKEN TOKEN 1 MS 3  eventType 0',
    'evalsha startClaimedScript 4 orders {orders}:billing:slot:claimer-0 {orders}:billing:due {orders}:billing:paused billing claimer-0 TOKEN MS eventType 0 id3 2',
    'eval startClaimedScript 4 orders {orders}:billing:slot:claimer-0 {orders}:billing:due {orders}:billing:paused billing claimer-0 TOKEN MS eventType 0 id3 2',
    'evalsha settleEntriesScript 6 orders {orders}:billing:slot:claimer-0 {orders}:billing:due {orders}:billing:waiting {orders}:billing:dlq {orders}:billing:state billing claimer-0 TOKEN MS dead id3 3 30 originalStream orders originalId id3 group billing consumer claimer-0 eventId TOKEN eventType OrderPaid schemaVersion 1 reason max-deliveries errorName Error errorMessage bad errorStack Error: bad… deliveryCount 3 lastDeliveredAt DATE failedAt DATE traceparent ',
    'evalsha finishClaimerRunScript 5 orders {orders}:billing:slot:claimer-0 {orders}:billing:due {orders}:billing:waiting {orders}:billing:state billing claimer-0 TOKEN 0-0 0',
    'xinfo CONSUMERS orders billing',
    'evalsha measureBacklogScript 7 orders {orders}:billing:dlq {orders}:billing:state {orders}:billing:slot:poller-0 {orders}:billing:slot:poller-1 {orders}:billing:slot:poller-2 {orders}:billing:slot:poller-3 billing',
    'evalsha giveSlotBackScript 1 {orders}:billing:slot:claimer-0 TOKEN',
  ],
}

test('a consumer without use sends what it sent before there were policies', async () => {
  const { server, redis, publish, age } = await startScenario()
  const watch = await watchCommands(server.url)
  const names = await scriptNames()
  const consumer = billing(
    ({ payload: { orderId } }) => {
      if (orderId === 'hopeless') throw new NonRetryableError('hopeless')
      if (orderId === 'bad') throw new Error('bad')
    },
    { batchSize: 2, concurrency: 1, maxDeliveries: 3, backoff: { firstMs: 0 } },
  )
  const ids = await publish('a', 'b', 'bad', 'hopeless')
  const sent = async (work: () => Promise<unknown>) => {
    const from = (await watch.sent()).length
    await work()
    return (await watch.sent()).slice(from).map(line)
  }
  const nameOf = (script = '') =>
    names.get(script.replace(/\\(.)/g, (_all, c: string) => (c === 'n' ? '\n' : c))) ?? 'another script'
  const line = ([name = '', ...args]: readonly string[]) => {
    const script = name.startsWith('eval') ? [nameOf(args.shift())] : []
    return [name, ...script, ...args.map((text) => normal(text, ids))].join(' ')
  }

  const polled = await sent(() => poll(consumer, { redis }))
  await age(120_000)
  const retried = await sent(() => claimOnce(consumer, { redis }))
  await age(120_000)
  const last = await sent(() => claimOnce(consumer, { redis }))

  expect({ polled, retried, last }).toEqual(BEFORE)
})

/** An argument without what differs from run to run. */
function normal(text: string, ids: readonly string[]): string {
  if (/^\d{13}(\.\d+)?$/.test(text)) return 'TIME'
  if (/^\d{5,}$/.test(text)) return 'MS'
  if (/^\d{4}-\d\d-\d\dT/.test(text)) return 'DATE'
  if (/^[\w+/=-]{20,}$/.test(text)) return 'TOKEN'
  const known = text.replace(/\d{13}-\d+/g, (id) => (ids.includes(id) ? `id${ids.indexOf(id) + 1}` : 'ID'))
  return known.replace(/\\n.*/s, '…')
}

/** Scripts by text and by digest. */
async function scriptNames(): Promise<ReadonlyMap<string, string>> {
  const names = new Map<string, string>()
  for (const file of await readdir(SCRIPTS)) {
    const exported = (await import(join(SCRIPTS, file))) as Record<string, { readonly lua?: string } | undefined>
    for (const [name, value] of Object.entries(exported))
      if (typeof value?.lua === 'string') names.set(value.lua, name).set(hash('sha1', value.lua), name)
  }
  return names
}
