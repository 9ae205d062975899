import type { Field } from '../../../core/entry.ts'
import type { StreamTrim } from '../../connection.ts'
import type { CommandArgument, RedisCommand } from '../transport.ts'

/**
 * Appends an entry under an id of the server's.
 *
 * @param nowMs The server's time in milliseconds since 1970. By age nothing is trimmed without.
 * @see https://redis.io/docs/latest/commands/xadd/
 */
export function xadd(stream: string, fields: readonly Field[], trim: StreamTrim, nowMs?: number): RedisCommand {
  const command: [string, ...CommandArgument[]] = ['xadd', stream, ...trimArguments(trim, nowMs), '*']
  // a loop: `flat` takes several times as long, for each of many events
  for (const field of fields) command.push(field[0], field[1])
  return command
}

function trimArguments(trim: StreamTrim, nowMs: number | undefined): readonly (string | number)[] {
  if (trim.kind === 'none') return []
  const how = trim.exact ? '=' : '~'
  if (trim.kind === 'length') return ['MAXLEN', how, trim.maxLength]
  return nowMs === undefined ? [] : ['MINID', how, Math.max(0, Math.floor(nowMs - trim.retentionMs))]
}
