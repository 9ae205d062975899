import { publishedKey } from '../../core/keys.ts'
import type { Connection } from '../connection.ts'
import type { CancelAnswer, Delaying } from '../delays.ts'
import { delayKeyArguments } from './delay-call.ts'
import { createOperatorSender } from './redis-connection.ts'
import { CANCEL_SCRIPT_ANSWERS, cancelDelayedScript } from './scripts/cancel-delayed.ts'

/** What cancels over a connection. A connection to a server does not have it: the publisher brings it along. */
export function createCanceller(action: string, redis: Connection): Delaying['cancel'] {
  const { delaying } = redis
  if (delaying) return (...call) => delaying.cancel(...call)
  const sender = createOperatorSender(action, redis)
  return async (stream, eventId, nonce, before = [], markersOf = stream) => {
    const keys = [...delayKeyArguments(stream), publishedKey(markersOf, eventId)]
    const reply = await sender.call({ script: cancelDelayedScript, keys, args: [eventId, nonce, ...before] })
    return ANSWERS.get(Number(reply)) ?? 'unknown'
  }
}

const ANSWERS = new Map<number, CancelAnswer>([
  [CANCEL_SCRIPT_ANSWERS.cancelled, 'cancelled'],
  [CANCEL_SCRIPT_ANSWERS.alreadyCancelled, 'already-cancelled'],
  [CANCEL_SCRIPT_ANSWERS.tooLate, 'too-late'],
])
