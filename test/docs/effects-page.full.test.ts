import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Redis } from 'ioredis'
import type { Connection, Consumer, EventDefinition, EventHandler } from 'millrace'
import { createPublisher, defineConsumer, defineEvent, on, poll } from 'millrace'
import { expect, onTestFinished, test, vi } from 'vitest'
import * as z from 'zod/mini'
import { claimOnce } from '../support/claim-once.ts'
import { counts, startScenario } from '../support/scenario.ts'

const root = new URL('../../', import.meta.url).pathname
const page = await readFile(join(root, 'docs/effects.md'), 'utf8')

interface Program {
  readonly redis: Connection
  readonly OrderPaid: EventDefinition
  readonly books: Consumer
}

async function load(name: string, change: (program: string) => string): Promise<unknown> {
  const [, program = ''] = new RegExp(`\`\`\`ts\n(// ${name}\n[^]*?)\`\`\``).exec(page) ?? []
  await mkdir(join(root, '.readme'), { recursive: true })
  const folder = await mkdtemp(join(root, '.readme', 'effects-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  await writeFile(join(folder, name), change(program))
  return import(join(folder, name))
}

test('the program of docs/effects.md books each order once', async () => {
  const { server, raw } = await startScenario()
  const loaded = await load('ledger.ts', (program) => program.replace('redis://127.0.0.1', server.url))
  const { redis, OrderPaid, books } = loaded as Program
  onTestFinished(() => redis.close())
  const orders = createPublisher({ stream: 'orders', redis })
  for (const cents of [700, 300]) await orders.publish(OrderPaid, { orderId: 'o-1', cents })

  await poll(books, { redis })

  expect(await raw.xlen('{orders}:ledger')).toBe(2)
  expect(await raw.get('{orders}:booked')).toBe('2')
  expect(await raw.zscore('{orders}:largest', 'o-1')).toBe('700')
})

test.each([
  ['ledger.test.ts', [['INCRBY', '{orders}:booked', '1']]],
  ['views.test.ts', [['INCRBY', '{views}:batches', '1']], [['SADD', '{views}:seen', 'e-1']]],
])('%s of docs/effects.md shows what it says', async (name, ...shown) => {
  const printed: unknown[] = []
  const log = vi.spyOn(console, 'log').mockImplementation((value) => void printed.push(value))
  onTestFinished(() => log.mockRestore())

  await load(name, (program) => program)

  expect(printed).toEqual(shown)
})

test('its handler that reads reserves what is there, and no more, side by side', async () => {
  const { raw, redis } = await startScenario()
  await raw.hset('{orders}:stock', 'chairs', 2)
  const { reserve } = (await load('reserve.ts', (program) => program)) as { reserve(client: Redis): EventHandler }
  const OrderPaid = defineEvent('OrderPaid', { payload: z.object({ orderId: z.string() }) })
  const consumer = defineConsumer({
    stream: 'orders',
    group: 'stock',
    routes: [on(OrderPaid, reserve(raw))],
    backoff: { firstMs: 0, factor: 1, maxMs: 0 },
  })
  const orders = createPublisher({ stream: 'orders', redis })
  for (const orderId of ['o-1', 'o-2', 'o-3']) await orders.publish(OrderPaid, { orderId })

  const reports = [await poll(consumer, { redis }), await claimOnce(consumer, { redis })]

  expect(reports.map(counts)).toMatchObject([
    { read: 3, acked: 2, retried: 1 },
    { claimed: 1, deadLettered: 1 },
  ])
  expect(await raw.hget('{orders}:stock', 'chairs')).toBe('0')
})
