import { keepingKeys } from '../../core/keys.ts'
import type { Connection } from '../connection.ts'
import type { MeasureUndone } from '../undone.ts'
import { replyAsText, replyItems } from './commands/reply.ts'
import { createOperatorSender } from './redis-connection.ts'
import { undoneEntriesScript } from './scripts/undone-entries.ts'

/** What measures over a connection. A connection to a server does not have it: the publisher brings it along. */
export function createUndoneMeasure(action: string, redis: Connection): MeasureUndone {
  if (redis.undone) return redis.undone
  const sender = createOperatorSender(action, redis)
  return async (stream) => {
    const keys = [stream, keepingKeys(stream).groups]
    const [group, entries] = replyItems(await sender.call({ script: undoneEntriesScript, keys, args: [] }))
    return group === undefined ? undefined : { group: replyAsText(group), entries: Number(entries) }
  }
}
