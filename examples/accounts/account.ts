import { readEvents } from 'millrace'
import * as z from 'zod/mini'
import { ACCOUNT_EVENTS, SIGNS, STREAM } from './events.ts'
import { client, redis } from './redis.ts'

/** What an account is after so many of its events. */
export interface Account {
  readonly accountId: string
  readonly version: number
  readonly isOpen: boolean
  /** Minor units, never a double. */
  readonly cents: bigint
  /** The version of the snapshot that it was rebuilt from; 0 for none. */
  readonly snapshotVersion: number
}

/**
 * Rebuilds an account: its snapshot, and what came after it.
 *
 * @throws {EventsTrimmedError} Its snapshot is gone, and what came before it is in the archive: never a wrong balance.
 * @throws {Error} Its snapshot is damaged, or of events that the stream no longer knows of.
 */
export async function load(accountId: string): Promise<Account> {
  let account = await readSnapshot(accountId)
  const of = { aggregateType: 'account', aggregateId: accountId, from: account.version + 1 }
  for await (const event of readEvents(STREAM, { redis, events: ACCOUNT_EVENTS, ...of })) {
    const { type, payload, aggregateVersion: version } = event
    const moved = 'cents' in payload ? SIGNS[type as keyof typeof SIGNS] * BigInt(payload.cents) : 0n
    account = { ...account, version, isOpen: true, cents: account.cents + moved }
  }
  return account
}

/** A hash. Its name has the version of what it holds: when that changes, raise it, and accounts are rebuilt from their events. */
const snapshotKey = (accountId: string) => `{${STREAM}}:snapshot:1:${accountId}`
/** Which event of the account is the newest: where Millrace keeps it, so that it is asked for together with the snapshot. */
const newestKey = (accountId: string) => `{${STREAM}}::aggregate::account:${accountId}`
const Snapshot = z.object({
  version: z.string().check(z.regex(/^[1-9]\d*$/)),
  cents: z.string().check(z.regex(/^-?\d+$/)),
})

async function readSnapshot(accountId: string): Promise<Account> {
  const [hash, [, newest = '0']] = await Promise.all([
    client.hgetall(snapshotKey(accountId)),
    client.zrevrange(newestKey(accountId), 0, 0, 'WITHSCORES'),
  ])
  if (Object.keys(hash).length === 0) return { accountId, version: 0, isOpen: false, cents: 0n, snapshotVersion: 0 }
  const { version, cents } = Snapshot.parse(hash)
  if (Number(version) > Number(newest))
    throw new Error(`Account ${accountId} has a snapshot of version ${version}, and events up to ${newest}`)
  return { accountId, version: Number(version), isOpen: true, cents: BigInt(cents), snapshotVersion: Number(version) }
}

/** A slow process does not put an older one in the place of a newer one. */
const SAVE = `
if tonumber(redis.call('HGET', KEYS[1], 'version') or 0) >= tonumber(ARGV[1]) then return 0 end
return redis.call('HSET', KEYS[1], 'version', ARGV[1], 'cents', ARGV[2])`

export async function saveSnapshot({ accountId, version, cents }: Account): Promise<void> {
  await client.eval(SAVE, 1, snapshotKey(accountId), version, String(cents))
}
