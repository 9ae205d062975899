import { aggregateKey } from '../../core/keys.ts'
import { MAX_AGGREGATE_BYTES, MAX_AGGREGATE_EVENTS } from '../aggregates.ts'
import type { Aggregates, Connection } from '../connection.ts'
import { replyAsFields, replyAsText, replyItems } from './commands/reply.ts'
import { createOperatorSender } from './redis-connection.ts'
import { readAggregateScript } from './scripts/read-aggregate.ts'

/** What reads events of aggregates over a connection. A connection to a server does not have it: `readEvents` brings it along. */
export function createAggregateReader(action: string, redis: Connection): Aggregates['read'] {
  const { aggregates } = redis
  if (aggregates) return (...call) => aggregates.read(...call)
  const sender = createOperatorSender(action, redis)
  return async (stream, { aggregateType, aggregateId }, from, to) => {
    const reply = await sender.call({
      script: readAggregateScript,
      keys: [stream, aggregateKey(stream, aggregateType, aggregateId)],
      args: [from, to === Infinity ? '+inf' : to, MAX_AGGREGATE_EVENTS, MAX_AGGREGATE_BYTES],
    })
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
