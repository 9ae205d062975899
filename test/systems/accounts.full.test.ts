import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { defineConsumer, on, poll } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { auditAccounts } from '../../demo/accounts/audit.ts'
import { createRandom, type Random } from '../../demo/random.ts'
import { startRedisServer } from '../../tools/redis-server.ts'
import { drawCommand, openAll } from './accounts/draw.ts'
import { startSystem } from './kit/start-system.ts'

const TRANSFERS = { stream: 'accounts', group: 'transfers' }
const FUNCTIONS = ['poller', 'poller', 'claimer'].map((name) => `examples/accounts/${name}.ts`)
const INTERLEAVINGS = process.env.MILLRACE_SYSTEMS === 'whole' ? 10_000 : 500

/** A process that asks for commands until it is killed. */
async function startClerk(REDIS_URL: string): Promise<() => Promise<void>> {
  const child = fork(join(import.meta.dirname, 'kit/host.ts'), [join(import.meta.dirname, 'accounts/clerk.ts')], {
    cwd: join(import.meta.dirname, '../..'),
    env: { ...process.env, REDIS_URL },
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  await once(child, 'message')
  return async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
}

async function expectConserved(raw: Redis): Promise<void> {
  const { brought, onItsWay, overdrawn, uneven, balances } = await auditAccounts(raw)
  expect({ onItsWay, overdrawn, uneven }).toEqual({ onItsWay: 0, overdrawn: [], uneven: [] })
  expect([...balances.values()].reduce((sum, cents) => sum + cents, 0)).toBe(brought)
}

test('accounts: money is conserved, whatever is killed', { timeout: 180_000 }, async () => {
  const system = await startSystem(FUNCTIONS, [TRANSFERS])
  const random = createRandom(3)
  await system.start()
  for (let n = 0; n < 10; n++) {
    const clerks = await Promise.all([startClerk(system.server.url), startClerk(system.server.url)])
    onTestFinished(async () => void (await Promise.all(clerks.map((kill) => kill()))))
    await sleep(random.integer(200, 900))
    await clerks[0]()
    await system.kill()
    await clerks[1]()
    await system.start()
  }
  await system.drained()

  await expectConserved(system.raw)
  expect(await system.deadLetters(TRANSFERS)).toEqual([])
  expect(await system.raw.xlen('accounts')).toBeGreaterThan(500)
})

/** What a process may come to at a step of its own. */
class Killed extends Error {}

/** Dies at one of so many steps, by chance. */
function mayDie(random: Random): void {
  if (random.integer(0, 4) === 0) throw new Killed()
}

test(`accounts: money is conserved in ${INTERLEAVINGS} interleavings of commands, transfers and deaths between both sides`, {
  timeout: INTERLEAVINGS * 200 + 60_000,
}, async () => {
  const server = await startRedisServer()
  process.env.REDIS_URL = server.url
  const { execute, settleTransfer } = await import('../../examples/accounts/commands.ts')
  const { load } = await import('../../examples/accounts/account.ts')
  const { TransferSent } = await import('../../examples/accounts/events.ts')
  const { client, redis: own } = await import('../../examples/accounts/redis.ts')
  const raw = new Redis(server.url)
  const redis = connectIoredis(server.url)
  onTestFinished(async () => {
    client.disconnect()
    raw.disconnect()
    await Promise.all([own.close(), redis.close()])
    await server.stop()
  })
  for (let seed = 0; seed < INTERLEAVINGS; seed++) {
    const random = createRandom(seed)
    await raw.flushall()
    await openAll(execute)
    const settle = on(TransferSent, async (event) => {
      mayDie(random) // ahead of the other side
      await settleTransfer(event)
      mayDie(random) // ahead of its acknowledgement
    })
    const worker = defineConsumer({
      ...TRANSFERS,
      routes: [settle],
      unrouted: 'ignore',
      backoff: { firstMs: 0, factor: 1, maxMs: 0 },
      maxDeliveries: 1_000,
    })
    const commands = Array.from({ length: 6 }, (_, n) => drawCommand(random, `r-${n}`))
    const twice = commands.filter(() => random.integer(0, 2) === 0)
    const pollNow = () => poll(worker, { redis })
    await Promise.all([...[...commands, ...twice].map(execute), pollNow(), pollNow()])
    await pollNow()
    // what is left behind comes again, and again what was settled
    const sent = (await raw.xrange('accounts', '-', '+'))
      .map(([, fields]) => fields)
      .filter((fields) => fields.includes('TransferSent'))
    const events = sent.map((fields) => ({ payload: JSON.parse(fields[fields.indexOf('payload') + 1] ?? '') }) as never)
    await Promise.all([...events, ...events].map((event) => settleTransfer(event)))

    await expectConserved(raw)
    const { balances } = await auditAccounts(raw)
    for (const [accountId, cents] of balances) expect((await load(accountId)).cents).toBe(BigInt(cents))
  }
})
