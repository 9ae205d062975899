import { RedisConnectionError, RedisReplyError } from '../errors.ts'
import { classifyReplyError } from '../group/redis/reply-errors.ts'

/** Whether a failure is of a connection, or of a server, that another takes the place of in a moment. */
export function isPassingFailure(failure: unknown): boolean {
  if (!(failure instanceof RedisReplyError)) return failure instanceof RedisConnectionError
  const { isPassing, endsClient } = classifyReplyError(failure.message)
  return isPassing || endsClient
}
