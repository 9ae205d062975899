import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, expect, onTestFinished, test, vi } from 'vitest'
import { auditOutbox } from '../../demo/outbox/audit.ts'
import { createRandom } from '../../demo/random.ts'
import { type PrivatePostgres, startPostgres } from '../../tools/postgres-server.ts'
import { startSystem } from './kit/start-system.ts'
import { migrate } from './outbox/rows.ts'

const SALES = { stream: 'orders', group: 'sales' }
const FUNCTIONS = ['relay', 'relay', 'poller', 'claimer'].map((name) => `examples/outbox/${name}.ts`)
const WRITERS = 4
const ORDERS = 30
const KILLS = process.env.MILLRACE_SYSTEMS === 'whole' ? 100 : 12

let postgres: PrivatePostgres
beforeAll(async () => {
  postgres = await startPostgres()
  return () => postgres.stop()
})

test('outbox: each row is in the stream once and in order, whatever is killed', { timeout: 600_000 }, async () => {
  const environment = { DATABASE_URL: postgres.url, DATABASE_URL_PARAMETER: '' }
  const system = await startSystem(FUNCTIONS, [SALES], { environment })
  vi.stubEnv('DATABASE_URL', postgres.url)
  const { database } = await import('../../examples/outbox/database.ts')
  const { execute } = await import('../../examples/outbox/api.ts')
  onTestFinished(async () => {
    vi.unstubAllEnvs()
    await database.close()
  })
  await migrate(database)
  const random = createRandom(5)
  let isOver = false
  /** Writers of the same orders, who place, pay and cancel them at once. */
  const writers = Array.from({ length: WRITERS }, async (_, writer) => {
    for (let n = 0; !isOver; n++) {
      const orderId = `o-${Math.floor(n / 8)}-${random.integer(0, ORDERS)}`
      const type = random.pick(['place', 'place', 'pay', 'cancel'] as const)
      await execute(database, type === 'place' ? { type, orderId, cents: writer + 1 } : { type, orderId })
      await sleep(2)
    }
  })
  await system.start()
  for (let n = 0; n < KILLS; n++) {
    await sleep(random.integer(100, 600))
    await system.kill()
    await system.start()
  }
  isOver = true
  await Promise.all(writers)
  await expect
    .poll(async () => (await auditOutbox(database, system.raw)).table.waiting, { timeout: 120_000, interval: 200 })
    .toBe(0)
  await system.drained()

  const { table, entries, wrong, totals, orders } = await auditOutbox(database, system.raw)
  expect(wrong).toEqual([])
  expect({ entries, setAside: table.setAside }).toEqual({ entries: table.rows, setAside: 0 })
  expect(totals).toEqual(orders)
  expect(table.rows).toBeGreaterThan(200)
  expect(await system.deadLetters(SALES)).toEqual([])
})
