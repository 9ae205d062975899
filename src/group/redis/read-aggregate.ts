import { aggregateKey } from '../../core/keys.ts'
import { RedisReplyError } from '../../errors.ts'
import { MAX_AGGREGATE_BYTES, MAX_AGGREGATE_EVENTS } from '../aggregates.ts'
import type { Aggregates, Connection } from '../connection.ts'
import { replyAsFields, replyAsText, replyItems } from './commands/reply.ts'
import { createOperatorSender } from './redis-connection.ts'
import { readAggregateScript } from './scripts/read-aggregate.ts'
import { isRequestTooLarge } from './sender.ts'
import type { RedisReply } from './transport.ts'

/** What reads events of aggregates over a connection. A connection to a server does not have it: `readEvents` brings it along. Where a service says that an answer is larger than it gives, pages become half as large. */
export function createAggregateReader(action: string, redis: Connection): Aggregates['read'] {
  const { aggregates } = redis
  if (aggregates) return (...call) => aggregates.read(...call)
  const sender = createOperatorSender(action, redis)
  let most = MAX_AGGREGATE_EVENTS
  const ask = async (keys: readonly string[], from: number, to: number): Promise<RedisReply> => {
    const args = [from, to === Infinity ? '+inf' : to, most, MAX_AGGREGATE_BYTES]
    try {
      return await sender.call({ script: readAggregateScript, keys, args })
    } catch (error) {
      if (most === 1 || !(error instanceof RedisReplyError && isRequestTooLarge(error))) throw error
      most = Math.ceil(most / 2)
      return ask(keys, from, to)
    }
  }
  return async (stream, { aggregateType, aggregateId }, from, to) => {
    const reply = await ask([stream, aggregateKey(stream, aggregateType, aggregateId)], from, to)
    const [newest, entries] = replyItems(reply)
    return {
      newestVersion: Number(replyAsText(newest)),
      entries: replyItems(entries).map((entry) => {
        const [id, fields] = replyItems(entry)
        return { id: replyAsText(id), fields: replyAsFields(fields) }
      }),
    }
  }
}
