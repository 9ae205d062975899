import type { Redis } from 'ioredis'
import { domainOf, EVENTS, type User } from '../../examples/users/events.ts'

/** What the events say, read one after the other. */
interface Fold {
  readonly users: ReadonlyMap<string, User>
  /** The version that a command made. */
  readonly versionOf: ReadonlyMap<string, number>
  /** Active users by domain, without those that have none. */
  readonly domains: ReadonlyMap<string, number>
  readonly events: number
  /** What no sequence of events may have: a version left out or twice, an address of two users, a change of who is deactivated. */
  readonly faults: readonly string[]
}

const PAGE = 5_000

/** @param each Called with each state of each user. */
export async function foldEvents(raw: Redis, each: (user: User) => void = () => {}): Promise<Fold> {
  const users = new Map<string, User>()
  const owners = new Map<string, string>()
  const versionOf = new Map<string, number>()
  const faults: string[] = []
  let events = 0
  for await (const fields of entriesOf(raw)) {
    const { from, ...user } = JSON.parse(fields.payload ?? '') as User & { from?: string }
    const before = users.get(user.userId)
    const owner = owners.get(user.email) ?? user.userId
    if (user.version !== (before?.version ?? 0) + 1) faults.push(`${user.userId} has version ${user.version} again`)
    if (owner !== user.userId) faults.push(`${user.email} is of ${owner} and ${user.userId}`)
    if (before?.active === false) faults.push(`${user.userId} changed when deactivated`)
    if (from !== undefined && from !== before?.email) faults.push(`${user.userId} did not have ${from}`)
    if (before) owners.delete(before.email)
    owners.set(user.email, user.userId)
    users.set(user.userId, user)
    // <group>:<command>:1
    versionOf.set(fields.eventId?.split(':')[1] ?? '', user.version)
    each(user)
    events++
  }
  return { users, versionOf, domains: countDomains(users.values()), events, faults }
}

async function* entriesOf(raw: Redis): AsyncGenerator<Record<string, string>> {
  for (let after = '-'; ; ) {
    const page = await raw.xrange(EVENTS, after, '+', 'COUNT', PAGE)
    for (const [id, flat] of page) {
      after = `(${id}`
      yield Object.fromEntries(flat.flatMap((name, n) => (n % 2 ? [] : [[name, flat[n + 1] as string]])))
    }
    if (page.length < PAGE) return
  }
}

function countDomains(users: Iterable<User>): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const { email, active } of users) if (active) counts.set(domainOf(email), (counts.get(domainOf(email)) ?? 0) + 1)
  return counts
}
