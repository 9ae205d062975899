import { createCanceller } from '../../group/redis/cancelling.ts'
import { replyAsFields, replyAsText, replyItems } from '../../group/redis/commands/reply.ts'
import { promotionOf } from '../../group/redis/promoting.ts'
import { assertSame, type TryCheck } from './check-kit.ts'

const ACTION = 'try a server'

/** The contract of delayed events, in short. */
export const DELAY_CHECKS: readonly TryCheck[] = [
  {
    name: 'delays, cancels, and promotes in due order',
    async run(area) {
      const { redis, append } = area
      const { stream } = area.keys
      const values = ['second', 'first', 'cancelled', 'later']
      const delays = [{ deliverAt: 2 }, { deliverAt: 1 }, { deliverAt: 3 }, { delayMs: 600_000 }]
      const ids = values.map(() => crypto.randomUUID())
      const { answers } = await append(
        stream,
        values.map((value, n) => [
          ['eventId', ids[n] as string],
          ['v', value],
        ]),
        { kind: 'none' },
        [],
        { delays: delays.map((delay, n) => ({ eventId: ids[n] as string, ...delay })), groups: ['try'] },
      )
      assertSame(answers.slice(0, 3), [2, 1, 3])
      const cancel = () => createCanceller(ACTION, redis)(stream, ids[2] as string, 'nonce')
      assertSame([await cancel(), await cancel()], ['cancelled', 'cancelled'])
      const { promoted, groups, nextDueAt = 0, nowMs, refusal } = await promotionOf(ACTION, redis).promote(stream)
      if (refusal) throw refusal
      assertSame([promoted, groups, nextDueAt > nowMs], [2, ['try'], true])
      const entries = replyItems(await area.call('xrange', stream, '-', '+'))
      const fields = entries.map((entry) => replyAsFields(replyItems(entry)[1]).map((pair) => pair.map(replyAsText)))
      assertSame(
        fields.map(([id, value]) => [id?.[1], value?.[1]]),
        [
          [ids[1], 'first'],
          [ids[0], 'second'],
        ],
      )
    },
  },
]
