import { randomUUID } from 'node:crypto'
import { poll } from 'millrace'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { type PrivateCluster, startCluster } from '../support/cluster.ts'

const START_MS = 60_000

let cluster: PrivateCluster

beforeAll(async () => {
  cluster = await startCluster()
  vi.stubEnv('REDIS_URL', cluster.url)
  vi.stubEnv('PROFILES', 'v1,v2')
}, START_MS)
afterAll(async () => {
  vi.unstubAllEnvs()
  await cluster.stop()
})

test('users: commands, outcomes, projections and the switch work on three masters', async () => {
  const { client, redis } = await import('../../examples/users/redis.ts')
  const { all } = await import('../../examples/users/consumers.ts')
  const { RegisterUser } = await import('../../examples/users/events.ts')
  const { awaitOutcome, commands } = await import('../../examples/users/outcomes.ts')
  const { countActiveUsers, readProfile } = await import('../../examples/users/projections.ts')
  const { handler: switchTo } = await import('../../examples/users/switch.ts')
  const userId = randomUUID()
  try {
    const { eventId } = await commands.publish(RegisterUser, { userId, email: 'ada@example.com', name: 'Ada' })
    for (const consumer of all) await poll(consumer, { redis })
    await switchTo({ to: 'profiles-v2' })

    expect(await awaitOutcome(eventId)).toEqual({ state: 'done', version: 1 })
    expect(await readProfile(userId)).toMatchObject({ version: 1, email: 'ada@example.com' })
    expect(await countActiveUsers('example.com')).toBe(1)
  } finally {
    client.disconnect()
    await redis.close()
  }
})

test('accounts: commands, transfers, snapshots and the archive work on three masters', async () => {
  vi.stubEnv('ARCHIVE_AFTER_DAYS', '0')
  const { client, redis } = await import('../../examples/accounts/redis.ts')
  const { execute } = await import('../../examples/accounts/commands.ts')
  const { load, saveSnapshot } = await import('../../examples/accounts/account.ts')
  const { transfers } = await import('../../examples/accounts/consumer.ts')
  const { handler: archive } = await import('../../examples/accounts/archive.ts')
  try {
    for (const accountId of ['a', 'b']) await execute({ type: 'open', accountId, requestId: 'open', owner: 'o' })
    await execute({ type: 'deposit', accountId: 'a', requestId: 'd', cents: 100 })
    await execute({ type: 'transfer', accountId: 'a', requestId: 't', to: 'b', cents: 30 })
    // nobody has read the transfer
    expect(await archive()).toEqual({ archived: 0 })
    await poll(transfers, { redis })
    for (const accountId of ['a', 'b']) await saveSnapshot(await load(accountId))

    expect(await load('a')).toMatchObject({ cents: 70n, snapshotVersion: 3 })
    expect(await load('b')).toMatchObject({ cents: 30n, snapshotVersion: 2 })
  } finally {
    client.disconnect()
    await redis.close()
  }
})

test('users: who waits for an outcome is answered in time, though no node is there', {
  timeout: START_MS,
}, async () => {
  vi.resetModules()
  vi.stubEnv('REDIS_URL', 'redis://127.0.0.1:1,127.0.0.1:2?cluster')
  const { client, redis } = await import('../../examples/users/redis.ts')
  const { awaitOutcome } = await import('../../examples/users/outcomes.ts')
  try {
    await expect(awaitOutcome('nobody-sent-it', 100)).rejects.toThrow('Command timed out')
  } finally {
    client.disconnect()
    await redis.close()
  }
})

test.each(['users', 'accounts'])('%s: a URL of sentinels is refused in a sentence', async (system) => {
  vi.resetModules()
  vi.stubEnv('REDIS_URL', 'redis+sentinel://127.0.0.1:1?name=shop')

  await expect(import(`../../examples/${system}/redis.ts`)).rejects.toThrow(
    'REDIS_URL must be a redis:// or rediss:// URL',
  )
})
