import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Policy } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, definePolicy, on, poll } from 'millrace'
import { connectMemory } from 'millrace/testing'
import { expect, onTestFinished, test } from 'vitest'
import * as z from 'zod/mini'
import { definePolicy as definedByACopy } from '../../src/index.ts'
import { bytesByModule } from '../../tools/bundle.ts'
import { claimOnce } from '../support/claim-once.ts'

const Paid = defineEvent('Paid', { payload: z.object({ id: z.string() }) })

/** What delays, cancels and promotes events. */
const DELAYS = [
  'group/memory/memory-delays',
  'group/redis/cancelling',
  'group/redis/delay-call',
  'group/redis/promoting',
  'group/redis/raising',
  'group/redis/scripts/cancel-delayed',
  'group/redis/scripts/delay-event',
  'group/redis/scripts/delays',
  'group/redis/scripts/promote-delayed',
  'publish/promote-delays',
]

const MACHINERY = [
  'core/joinable',
  'group/redis/join-calls',
  'group/redis/joining',
  'group/redis/scripts/join',
  'group/redis/scripts/settle-entry',
  'policies/admission',
  'policies/define-policy',
  'policies/policy-commands',
  'policies/run-policies',
  'policies/combine-consumer-policies',
]

test.each([
  ['a poller', 'nothing', "export { createPoller, defineConsumer, defineEvent, on, onBatch } from 'millrace'", []],
  ['a claimer', 'nothing', "export { createClaimer, defineConsumer, defineEvent, on, onBatch } from 'millrace'", []],
  [
    'a poller with definePolicy()',
    'all',
    "export { createPoller, defineConsumer, definePolicy, on } from 'millrace'",
    MACHINERY,
  ],
])(
  '%s is deployed with %s of what puts policies to work',
  { timeout: 30_000 },
  async (_name, _what, functions, expected) => {
    const folder = await mkdtemp(join(tmpdir(), 'millrace-arrives-'))
    onTestFinished(() => rm(folder, { recursive: true }))
    const code = `${functions}; export { connectIoredis } from 'millrace/ioredis'`
    const bytes = await bytesByModule({ code, external: ['ioredis'] }, join(folder, 'function.mjs'))
    const deployed = MACHINERY.filter((name) => (bytes.get(`dist/${name}.js`) ?? 0) > 0)

    expect(deployed).toEqual(expected)
  },
)

test.each([
  ['a poller', 'nothing', 'createPoller, defineConsumer, defineEvent, on', () => false],
  ['a claimer', 'nothing', 'createClaimer, defineConsumer, defineEvent, on', () => false],
  [
    'a publisher',
    'nothing that promotes',
    'createPublisher, defineEvent',
    (name: string) => !/memory|promot/.test(name),
  ],
  [
    'a poller with promoteDelays()',
    'nothing that delays or cancels',
    'createPoller, defineConsumer, on, promoteDelays',
    (name: string) => !/memory|cancel|delay-event/.test(name),
  ],
])('%s is deployed with %s', { timeout: 30_000 }, async (_name, _what, names, isThere) => {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-arrives-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const code = `export { ${names} } from 'millrace'; export { connectIoredis } from 'millrace/ioredis'`
  const bytes = await bytesByModule({ code, external: ['ioredis'] }, join(folder, 'function.mjs'))

  expect(DELAYS.filter((name) => (bytes.get(`dist/${name}.js`) ?? 0) > 0)).toEqual(DELAYS.filter(isThere))
})

/** What collects effects and carries them out. */
const EFFECTS = [
  'effects/effect-list',
  'effects/effects-of-call',
  'effects/effects',
  'effects/publish-command',
  'group/redis/join-calls',
  'group/redis/scripts/effects',
  'group/redis/scripts/look-ahead',
  'group/redis/scripts/settle-entry',
  'group/redis/settling-effects',
]

test.each([
  ['a poller', 'nothing', 'createPoller, defineConsumer, defineEvent, on, onBatch', []],
  ['a claimer', 'nothing', 'createClaimer, defineConsumer, defineEvent, on, onBatch', []],
  ['a publisher', 'nothing', 'createPublisher, defineEvent', []],
  ['a poller with effects()', 'all', 'createPoller, defineConsumer, effects, on', EFFECTS],
])('%s is deployed with %s of effects', { timeout: 30_000 }, async (_name, _what, names, expected) => {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-arrives-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const code = `export { ${names} } from 'millrace'; export { connectIoredis } from 'millrace/ioredis'`
  const bytes = await bytesByModule({ code, external: ['ioredis'] }, join(folder, 'function.mjs'))

  expect(EFFECTS.filter((name) => (bytes.get(`dist/${name}.js`) ?? 0) > 0)).toEqual(expected)
  expect(bytes.get('dist/group/redis/scripts/join.js') ?? 0).toBe(0)
})

test.each([
  ['before', (copied: never, own: Policy) => [copied, own]],
  ['after', (copied: never, own: Policy) => [own, copied]],
])('a policy of another copy of the package works, %s one of its own', async (_place, inOrder) => {
  const redis = connectMemory()
  const own = definePolicy({ name: 'own', begin: () => ({ joins: () => [['SADD', '{orders}:own', 'x']] }) })
  const parks = definedByACopy({
    name: 'parks',
    begin: () => ({
      admit: (jobs) => jobs.map(({ entryId }) => (entryId === first ? { action: 'park', delayMs: 0 } : undefined)),
      joins: ({ event }) => [['SET', `{orders}:seen:${event?.eventId}`, 'x']],
    }),
  })
  const consumer = defineConsumer({
    stream: 'orders',
    group: 'billing',
    routes: [on(Paid, () => {})],
    use: inOrder(parks as never, own),
  })
  const publisher = createPublisher({ stream: 'orders', redis })
  await publisher.publish(Paid, { id: '1' }, { eventId: 'e1' })
  await publisher.publish(Paid, { id: '2' }, { eventId: 'e2' })
  const first = redis.entries('orders')[0]?.id
  const report = await poll(consumer, { redis })
  const seen = await redis.group(consumer).ask([
    ['EXISTS', '{orders}:seen:e1'],
    ['EXISTS', '{orders}:seen:e2'],
    ['EXISTS', '{orders}:own'],
  ])

  expect(report).toMatchObject({ read: 2, acked: 1, parked: 1 })
  expect(seen).toEqual([0, 1, 1])
})

test.each([
  ['poll()', poll],
  ['claim()', claimOnce],
])('%s refuses a consumer whose policies carry nothing that puts them to work', async (_name, run) => {
  const consumer = defineConsumer({ stream: 'orders', group: 'billing', routes: [on(Paid, () => {})] })
  const old = { ...consumer, policies: [{ policy: { name: 'old', begin: () => ({}) }, eventType: undefined }] }

  await expect(run(old, { redis: connectMemory() })).rejects.toThrow(
    'policies of group "billing" on stream "orders" must come from definePolicy of this version of millrace',
  )
})
