import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Consumer, EventDefinition } from 'millrace'
import { createPublisher, poll } from 'millrace'
import { beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { startScenario } from '../support/scenario.ts'

const root = new URL('../../', import.meta.url).pathname
const page = await readFile(join(root, 'docs/events.md'), 'utf8')

let OrderPaid: EventDefinition
let billing: Consumer

beforeAll(async () => {
  await mkdir(join(root, '.readme'), { recursive: true })
  const folder = await mkdtemp(join(root, '.readme', 'events-'))
  for (const [, code = '', name = ''] of page.matchAll(/```ts\n(\/\/ ([\w-]+\.ts).*?)```/gs))
    await writeFile(join(folder, name), code)
  ;({ OrderPaid } = await import(join(folder, 'own-schema.ts')))
  ;({ billing } = await import(join(folder, 'wrapped.ts')))
  return () => rm(folder, { recursive: true })
})

/** What is printed meanwhile. */
function printed(): unknown[][] {
  const lines: unknown[][] = []
  const log = vi.spyOn(console, 'log').mockImplementation((...shown) => void lines.push(shown))
  onTestFinished(() => log.mockRestore())
  return lines
}

describe('docs/events.md', () => {
  it('has a codec that reads payloads out of one field', async () => {
    const { raw, redis } = await startScenario()
    const lines = printed()
    await raw.xadd('orders', '5-0', 'type', 'OrderPaid', 'id', '17', 'data', '{"orderId":"o-1","amount":"42.00"}')
    await raw.xadd('orders', '6-0', 'type', 'OrderPaid', 'data', '{"orderId":"o-2","amount":"7.00"}')

    const report = await poll(billing, { redis })

    expect(report).toMatchObject({ read: 2, acked: 2 })
    expect(lines).toEqual([
      ['17', 'o-1', '42.00'],
      ['orders:6-0', 'o-2', '7.00'],
    ])
  })

  it('has a schema and a codec that make dead letters which quote nothing', async () => {
    const { raw, redis } = await startScenario()
    await raw.xadd('orders', '*', 'type', 'OrderPaid', 'data', '{"orderId":"secret"}')
    await raw.xadd('orders', '*', 'type', 'OrderPaid', 'data', 'secret')

    await poll(billing, { redis })

    const letters = (await raw.xrange('{orders}:billing:dlq', '-', '+')).map(([, fields]) => {
      const head = fields.slice(0, fields.indexOf('fieldCount'))
      return Object.fromEntries(head.flatMap((name, at) => (at % 2 === 0 ? [[name, head[at + 1]]] : [])))
    })
    expect(letters.map(({ reason }) => reason)).toEqual(expect.arrayContaining(['invalid', 'malformed']))
    expect(letters.find(({ reason }) => reason === 'invalid')?.errorMessage).toContain('amount: must be a string')
    expect(JSON.stringify(letters)).not.toContain('secret')
    await expect(createPublisher({ stream: 'orders', redis }).publish(OrderPaid, {})).rejects.toMatchObject({
      issues: ['orderId', 'amount'].map((path) => ({ path, message: 'must be a string' })),
    })
  })

  it('has an encode that its decode reads back', async () => {
    const { raw, redis } = await startScenario()
    const lines = printed()

    const payload = { orderId: 'o-1', amount: '42.00' }
    await createPublisher({ stream: 'orders', redis, codec: billing.codec }).publish(OrderPaid, payload, {
      eventId: '17',
    })
    await poll(billing, { redis })

    expect(lines).toEqual([['17', 'o-1', '42.00']])
    const [[, fields] = []] = await raw.xrange('orders', '-', '+')
    expect(fields).toEqual(['type', 'OrderPaid', 'id', '17', 'data', JSON.stringify(payload)])
  })
})
