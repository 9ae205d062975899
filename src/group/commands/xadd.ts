import type { Field } from '../../core/entry.ts'
import type { Command } from '../clients/transport.ts'
import type { Trim } from '../group.ts'

/** Appends an entry under an id of the server's. @see https://redis.io/docs/latest/commands/xadd/ */
export function xadd(stream: string, fields: readonly Field[], trim: Trim): Command {
  return ['xadd', stream, ...trimArguments(trim), '*', ...fields.flat()]
}

function trimArguments(trim: Trim): readonly (string | number)[] {
  if (trim.kind === 'none') return []
  const how = trim.exact ? '=' : '~'
  if (trim.kind === 'length') return ['MAXLEN', how, trim.maxLength]
  return ['MINID', how, Math.max(0, Math.floor(trim.beforeMs))]
}
