import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { EventHandler } from 'millrace'
import { createPublisher, defineConsumer, on, poll } from 'millrace'
import { expect, onTestFinished, test, vi } from 'vitest'
import { claimOnce } from '../support/claim-once.ts'
import { passOnDue } from '../support/due.ts'
import { startScenario } from '../support/scenario.ts'

const root = new URL('../../', import.meta.url).pathname
const page = await readFile(join(root, 'docs/once.md'), 'utf8')
const readme = await readFile(join(root, 'README.md'), 'utf8')
const [, checkout = ''] = /```ts\n(\/\/ checkout\.ts\n.*?)```/s.exec(page) ?? []
const [, events = ''] = /```ts\n(\/\/ events\.ts\n.*?)```/s.exec(readme) ?? []

type Recipe = (effectsAt: never) => EventHandler<never>
type Run = (sql: string, values: readonly (string | number)[]) => Promise<{ rowCount: number }>

/** What a program of the page exports, beside the README's events. */
async function load(name: string): Promise<Record<string, Recipe> & { OrderPaid: never }> {
  await mkdir(join(root, '.readme'), { recursive: true })
  const folder = await mkdtemp(join(root, '.readme', 'once-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const [, program = ''] = new RegExp(`\`\`\`ts\n(// ${name}\n.*?)\`\`\``, 's').exec(page) ?? []
  await writeFile(join(folder, 'events.ts'), events)
  await writeFile(join(folder, name), program)
  return { ...(await import(join(folder, name))), ...(await import(join(folder, 'events.ts'))) }
}

/** Publishes an event twice; its handler fails after its effect at the first delivery, as a process that dies ahead of the acknowledgement. */
async function handleTwice(OrderPaid: never, handler: EventHandler<never>): Promise<number> {
  const { redis, raw } = await startScenario()
  let calls = 0
  const dies: EventHandler = async (event, context) => {
    await handler(event as never, context)
    if (++calls === 1) throw new Error('died after its effect')
  }
  const consumer = defineConsumer({ stream: 'orders', group: 'billing', routes: [on(OrderPaid, dies)] })
  const publisher = createPublisher({ stream: 'orders', redis })
  for (let n = 0; n < 2; n++)
    await publisher.publish(OrderPaid, { orderId: 'o-1', amount: '9.00', currency: 'EUR' } as never, { eventId: 'e1' })
  await poll(consumer, { redis })
  await passOnDue(raw, 120_000)
  await claimOnce(consumer, { redis })
  return calls
}

test('the recipe of docs/once.md for a database books once, whatever comes again', async () => {
  const { bookPayment, OrderPaid } = await load('book-payment.ts')
  const db = new DatabaseSync(':memory:')
  db.exec('create table handled (key text primary key); create table payments (order_id text, amount text)')
  const transaction = async (work: (run: Run) => Promise<unknown>) => {
    db.exec('begin')
    const answer = await work(async (sql, values) => {
      const { changes } = db.prepare(sql.replaceAll(/\$(\d)/g, '?$1')).run(...values)
      return { rowCount: Number(changes) }
    })
    db.exec('commit')
    return answer
  }

  const calls = await handleTwice(OrderPaid, (bookPayment as Recipe)({ transaction: inTurn(transaction) } as never))

  expect([calls, db.prepare('select * from payments').all()]).toEqual([3, [{ order_id: 'o-1', amount: '9.00' }]])
})

test('the recipe of docs/once.md for a provider gives each delivery of an event the same key', async () => {
  const { chargeCard, OrderPaid } = await load('charge-card.ts')
  const charges = new Map<string, unknown>()
  const charge = async (order: unknown, { idempotencyKey }: { idempotencyKey: string }) =>
    void charges.set(idempotencyKey, order)

  const calls = await handleTwice(OrderPaid, (chargeCard as Recipe)({ charge } as never))

  expect([calls, [...charges]]).toEqual([3, [['billing:e1', { orderId: 'o-1', amount: '9.00' }]]])
})

test('the program of docs/once.md publishes an order that is paid twice once', async () => {
  const { server, raw } = await startScenario()
  const printed: unknown[][] = []
  const log = vi.spyOn(console, 'log').mockImplementation((...texts) => void printed.push(texts))
  onTestFinished(() => log.mockRestore())
  await mkdir(join(root, '.readme'), { recursive: true })
  const folder = await mkdtemp(join(root, '.readme', 'once-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  await writeFile(join(folder, 'checkout.ts'), checkout.replace('redis://127.0.0.1', server.url))
  const { paid } = (await import(join(folder, 'checkout.ts'))) as { paid(orderId: string): Promise<void> }

  await Promise.all([paid('o-1'), paid('o-1')])

  const [[entryId] = []] = await raw.xrange('orders', '-', '+')
  expect(printed).toEqual([
    ['o-1', 'is published as', entryId],
    ['o-1', 'was published before as', entryId],
  ])
  expect(await raw.xlen('orders')).toBe(1)
})

/** One call after the other, as transactions of one connection are. */
function inTurn<T, Args extends unknown[]>(call: (...args: Args) => Promise<T>): (...args: Args) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve()
  return (...args) => {
    const next = last.then(() => call(...args))
    last = next.catch(() => {})
    return next
  }
}
