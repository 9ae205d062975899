import { type Pause, parsePauses, pausedType, WHOLE_GROUP } from '../../core/pauses.ts'
import { RedisReplyError } from '../../errors.ts'
import type { Connection } from '../connection.ts'
import type { PauseAnswer, PauseRequest, Pausing, PausingAddress, ResumeAnswer, ResumeRequest } from '../pausing.ts'
import { replyAsText, replyItems } from './commands/reply.ts'
import { createOperatorSender } from './redis-connection.ts'
import { PAUSED, pause, resume } from './scripts/pause.ts'
import type { CallSender, ScriptCall } from './sender.ts'
import { isReplyError } from './sender.ts'

/** Milliseconds for which a replica is waited for. */
const REPLICA_MS = 500

/**
 * What pauses over a connection. A connection to a server does not have it: whoever operates brings it along, and what a poller is deployed with stays
 * small.
 */
export function pausingOf(action: string, redis: Connection): Pausing {
  if (redis.pausing) return redis.pausing
  const sender = createOperatorSender(action, redis)
  return {
    pause: (address, request) => pauseOver(sender, address, request),
    resume: (address, request) => resumeOver(sender, address, request),
  }
}

async function pauseOver(
  sender: CallSender,
  { group, keys }: PausingAddress,
  request: PauseRequest,
): Promise<PauseAnswer> {
  const { type = WHOLE_GROUP, until = '', why = '', by = '', defaultBy = '' } = request
  const { reply, confirmed } = await confirmedBy(sender, {
    script: pause,
    keys: [keys.stream, keys.paused, keys.state],
    args: [group, type, until, why, by, defaultBy],
  })
  const [is, now, text, before = null] = replyItems(reply)
  if (is === PAUSED.unknown) return { is: 'unknown' }
  if (is === PAUSED.past) return { is: 'past', now: Number(replyAsText(now)) }
  return {
    is: 'paused',
    pause: readPause(replyAsText(text)),
    ...(before !== null && { before: readPause(replyAsText(before)) }),
    ...confirmed,
  }
}

async function resumeOver(
  sender: CallSender,
  { group, keys }: PausingAddress,
  request: ResumeRequest,
): Promise<ResumeAnswer> {
  const { type, maxAgeMs = '' } = request
  const condition = type === undefined ? '' : pausedType(type)
  const { reply, confirmed } = await confirmedBy(sender, {
    script: resume,
    keys: [keys.stream, keys.paused, keys.state, keys.due, keys.waiting],
    args: [group, type ?? WHOLE_GROUP, condition, maxAgeMs],
  })
  const [is, , was, waiting, unread, aged, isMore] = replyItems(reply)
  if (is === PAUSED.unknown) return { is: 'unknown' }
  if (is === PAUSED.notPaused) return { is: 'not-paused' }
  return {
    is: 'resumed',
    was: readPause(replyAsText(was)),
    waiting: Number(waiting),
    ...(type === undefined && Number(unread) >= 0 && { unread: Number(unread) }),
    ...(maxAgeMs !== '' && { expiring: Number(aged), ...(isMore === 1 && { isMoreExpiring: true }) }),
    ...confirmed,
  }
}

/** A pause as a script answers it. */
function readPause(text: string): Pause {
  return parsePauses(`{"*":${text}}`).get(WHOLE_GROUP) ?? { at: 0 }
}

/**
 * Runs a script, and waits until a replica has what it wrote. Both go in one write, to the node that has the keys: WAIT is about what its own connection wrote.
 *
 * @returns The script's answer, and whether a replica has it, where there is one.
 */
async function confirmedBy(sender: CallSender, call: ScriptCall) {
  let moved: RedisReplyError | undefined
  for (const node of await sender.masters()) {
    const [info = null] = await node.send([['info', 'replication']])
    const [, replicas] = /^connected_slaves:(\d+)/m.exec(info instanceof RedisReplyError ? '' : replyAsText(info)) ?? []
    const waits = replicas === '0' ? [] : [['wait', 1, REPLICA_MS] as const]
    const [reply = null, waited] = await node.send([node.withText(call), ...waits])
    if (isReplyError(reply, 'MOVED')) {
      moved = reply
      continue
    }
    if (reply instanceof RedisReplyError) throw reply
    const isConfirmed = !(waited instanceof RedisReplyError) && Number(replyAsText(waited)) > 0
    return { reply, confirmed: waited === undefined ? {} : { isConfirmed } }
  }
  throw moved ?? new RedisReplyError('MOVED no node of the cluster has the keys')
}
