import type { Consumer } from 'millrace'
import type { Ask, Reply } from './ask.ts'
import { pairsOf } from './ask.ts'

/**
 * Until when a group has settled everything that was published, in milliseconds since 1970 at which the stream took it. What is not read yet, or not settled, holds it back; where there is
 * nothing of that it is now.
 *
 * @returns Nothing while there is no group.
 */
export async function readProgress(ask: Ask, { stream, group }: Consumer, now: number): Promise<number | undefined> {
  const [exists] = await ask([['EXISTS', stream]])
  if (!exists) return undefined
  const [info, groups] = await ask([
    ['XINFO', 'STREAM', stream],
    ['XINFO', 'GROUPS', stream],
  ])
  const all = (groups as readonly Reply[]).map((one) => new Map(pairsOf(one)))
  const own = all.find((one) => one.get('name') === group)
  if (!own) return undefined
  const [pending] = await ask([['XPENDING', stream, group]])
  const read = own.get('last-delivered-id')
  const isAllRead = read === new Map(pairsOf(info)).get('last-generated-id')
  return Math.min(now, timeOfId(isAllRead ? null : read), timeOfId((pending as readonly Reply[])[1]))
}

const timeOfId = (id: unknown) => (typeof id === 'string' ? Number(id.split('-')[0]) : Infinity)
