import type { EventOf, HandlerContext } from 'millrace'
import { effects } from 'millrace'
import type { EmailChanged, User, UserDeactivated, UserRegistered, UserRenamed } from './events.ts'
import { domainOf } from './events.ts'
import { client } from './redis.ts'

/** Which projection reads go to: the name of its group. */
export const POINTER = '{users}:profiles'
export const FIRST = 'profiles-v1'
const DIRECTORY = '{users}:directory'

/** Older states that an event takes away. What comes later than that stays, and is read by nobody. */
const SWEEP = 8

type AnyChange = EventOf<typeof UserRegistered | typeof EmailChanged | typeof UserRenamed | typeof UserDeactivated>

/**
 * A profile is a hash of states by version, and the highest is the one that counts. So events may come in any order, and again, and nothing has to be read before it is written.
 * The group names the projection: its successor has keys of its own.
 */
export function showProfile({ payload }: AnyChange, context: HandlerContext): void {
  const { userId, version, email, name, active } = payload
  const row = `{users}:${context.group}:${userId}`
  const older = Array.from({ length: Math.min(SWEEP, version - 1) }, (_, n) => String(version - 1 - n))
  const list = effects(context).setFields(row, { [version]: JSON.stringify({ userId, version, email, name, active }) })
  if (older.length > 0) list.deleteFields(row, ...older)
}

/** Active users by domain. Additions may come in any order, but not twice. */
export function countRegistered({ payload }: EventOf<typeof UserRegistered>, context: HandlerContext): void {
  effects(context).incrementField(DIRECTORY, domainOf(payload.email))
}

export function countMoved({ payload }: EventOf<typeof EmailChanged>, context: HandlerContext): void {
  effects(context)
    .incrementField(DIRECTORY, domainOf(payload.from), -1)
    .incrementField(DIRECTORY, domainOf(payload.email))
}

export function countDeactivated({ payload }: EventOf<typeof UserDeactivated>, context: HandlerContext): void {
  effects(context).incrementField(DIRECTORY, domainOf(payload.email), -1)
}

/** One step, so that a read is of one projection. The profile's key is not known before; it lies in the hash slot of the one that is. */
const READ = `
local at = redis.call('GET', KEYS[1]) or ARGV[1]
return redis.call('HVALS', '{users}:' .. at .. ':' .. ARGV[2])`

/** The user as the projection has it that reads go to. */
export async function readProfile(userId: string): Promise<User | undefined> {
  const states = (await client.eval(READ, 1, POINTER, FIRST, userId.toLowerCase())) as string[]
  return states.map((text) => JSON.parse(text) as User).toSorted((a, b) => b.version - a.version)[0]
}

export async function countActiveUsers(domain: string): Promise<number> {
  return Number(await client.hget(DIRECTORY, domain))
}
