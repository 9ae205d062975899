import type { HandlerContext } from 'millrace'
import { claim, poll } from 'millrace'
import { expect, it } from 'vitest'
import { billing, names, startScenario } from '../support/scenario.ts'

const DUE = '{orders}:billing:due'

it.each([
  ['a claimer that waits', claim],
  ['a poller that listens', poll],
] as const)('promise 20: ten thousand that are due at the same second start in due order: %s', async (_who, run) => {
  const { redis, raw, publish, pending } = await startScenario()
  const started: string[] = []
  const consumer = billing(
    (_event: never, { deliveryCount, entryId }: HandlerContext) => {
      if (deliveryCount === 1) throw new Error('no')
      started.push(entryId)
    },
    { backoff: { firstMs: 3_000 }, handlerTimeoutMs: 2_000, batchSize: 1_000, maxPending: 100_000, mode: 'listen' },
  )
  for (let n = 0; n < 10; n++) await publish(...names(`o${n}-`, 1_000))
  await poll(consumer, { redis, mode: 'drain' })
  // all of them at one second, each at a millisecond of it
  const ids = (await raw.zrange(DUE, '0', '-1')) as string[]
  const at = (Math.floor(Date.now() / 1_000) + 2) * 1_000
  const dueAt = new Map(ids.map((id, n) => [id, at + ((n * 7_919) % 1_000)]))
  for (const [id, ms] of dueAt) await raw.call('ZADD', DUE, String(ms * 1_024 + 1), id)

  const startedAt = Date.now()
  await run(consumer, { redis, remainingMs: 14_000 })

  expect(started).toHaveLength(10_000)
  const due = started.map((id) => dueAt.get(id) as number)
  expect(due).toEqual(due.toSorted((a, b) => a - b))
  expect(startedAt).toBeLessThan(at)
  expect(await pending()).toEqual([])
})
