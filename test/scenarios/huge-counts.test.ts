import { Redis as Redis5 } from 'ioredis5'
import { poll } from 'millrace'
import { connect } from 'millrace/connect'
import { connectIoredis } from 'millrace/ioredis'
import { describe, expect, it, onTestFinished } from 'vitest'
import { claimOnce } from '../support/claim-once.ts'
import { startRestServer } from '../support/rest-server.ts'
import { billing, counts, noting, startScenario } from '../support/scenario.ts'

const HUGE = ['9007199254740991', '9007199254740992', '9007199254740993', '9223372036854775807']

const CLIENTS = [
  { client: 'ioredis 6', open: async (url: string) => connectIoredis(url) },
  { client: 'ioredis 5', open: async (url: string) => connectIoredis(() => new Redis5(url)) },
  {
    client: 'REST',
    open: async (url: string) => {
      const rest = await startRestServer({ redisUrl: url, token: 'secret' })
      onTestFinished(() => rest.close())
      return connect(rest.url.replace('://', '://:secret@'))
    },
  },
] as const

describe.each(CLIENTS)(
  'an entry whose delivery count somebody set beyond what numbers tell apart, over $client',
  ({ open }) => {
    it('becomes a dead letter, max-deliveries, whoever has it; its neighbours are handled', async () => {
      const { server, raw, publish, pending, deadLetters } = await startScenario()
      const redis = await open(server.url)
      onTestFinished(() => redis.close())
      const { calls, handler } = noting((_event, { deliveryCount }) => {
        if (deliveryCount === 1) throw new Error('no')
      })
      const consumer = billing(handler, { backoff: { firstMs: 0 } })
      const ids = await publish('a', 'b', 'c', 'd', 'well', 'wrapped')
      await poll(consumer, { redis })
      for (const [n, count] of HUGE.entries()) {
        const owner = n % 2 === 0 ? 'parked' : 'poller-3'
        await raw.call('xclaim', 'orders', 'billing', owner, 0, ids[n] as string, 'IDLE', 90_000, 'RETRYCOUNT', count)
      }
      // one delivery more, and the server answers a negative number
      const wrapped = ids[5] as string
      await raw.call('xclaim', 'orders', 'billing', 'x', 0, wrapped, 'RETRYCOUNT', '9223372036854775807', 'JUSTID')
      await raw.call('xclaim', 'orders', 'billing', 'x', 0, wrapped)
      await raw.call('xclaim', 'orders', 'billing', 'x', 0, wrapped, 'IDLE', 90_000, 'JUSTID')
      calls.length = 0

      expect(counts(await claimOnce(consumer, { redis }))).toEqual({
        claimed: 6,
        acked: 1,
        deadLettered: 5,
        batches: 2,
        drained: true,
      })
      expect(calls).toEqual(['well'])
      expect(await pending()).toEqual([])
      const letters = (await deadLetters()).map(({ head, fields }) => [fields.at(-1)?.[1], head.reason])
      expect(letters.toSorted(([a = ''], [b = '']) => a.localeCompare(b))).toEqual(
        ['a', 'b', 'c', 'd', 'wrapped'].map((orderId) => [JSON.stringify({ orderId }), 'max-deliveries']),
      )
      expect(new Set((await deadLetters()).map(({ head }) => head.deliveryCount))).toEqual(
        new Set(['9007199254740991', '9007199254740992']),
      )
    })
  },
)
