import type { ConsumerKeys } from '../../core/keys.ts'
import { consumerKeys } from '../../core/keys.ts'
import { assertKnownOptions, wrongUseError } from '../../core/options.ts'
import type { Consumer, ConsumerSet } from '../../define/consumer.ts'
import { listConsumers } from '../../define/consumer-set.ts'
import { RedisReplyError } from '../../errors.ts'
import type { Connection } from '../../group/connection.ts'
import { replyItems } from '../../group/redis/commands/reply.ts'
import { parseXinfoConsumers, xinfoConsumers } from '../../group/redis/commands/xinfo-consumers.ts'
import { parseXinfoGroups, xinfoGroups } from '../../group/redis/commands/xinfo-groups.ts'
import { createOperatorSender } from '../../group/redis/redis-connection.ts'
import { repair } from '../../group/redis/scripts/repair.ts'
import type { CallSender, RedisCall } from '../../group/redis/sender.ts'
import type { RedisReply } from '../../group/redis/transport.ts'
import { parkedOf } from './parked.ts'

/** Whose indexes to repair. */
export interface RepairOptions {
  readonly redis: Connection
  /** Further streams. Default: only those of the consumers. */
  readonly streams?: readonly string[]
  /** The one group of `streams`. Default: all that have something set aside. */
  readonly group?: string
}

/** A group whose indexes were compared with what it has set aside. */
export interface Repaired {
  readonly stream: string
  readonly group: string
  /** Entries that had no place in an index. They are due now. */
  readonly repaired: number
}

/**
 * Compares all that groups have set aside with their indexes, as a claimer does where the numbers differ, in pages of 500. What has no place in an index is due at once.
 * May run beside pollers and claimers, and again after it failed. Needs the rights of a claimer.
 *
 * @returns A row for each group that is there.
 * @throws {TypeError | RangeError} A bad option, or nothing to repair.
 * @throws {RedisConnectionError} No reply came.
 * @throws {RedisReplyError} The server refused.
 */
export async function repairIndexes(
  consumers: Consumer | readonly (Consumer | ConsumerSet)[],
  options: RepairOptions,
): Promise<readonly Repaired[]> {
  const given = listConsumers(consumers)
  checkOptions(given, options)
  const sender = createOperatorSender(ACTION, options.redis)
  const rows: Repaired[] = []
  for (const { group, keys } of await groupsTo(sender, given, options)) {
    const repaired = await compareAll(sender, group, keys)
    if (repaired !== undefined) rows.push({ stream: keys.stream, group, repaired })
  }
  return rows
}

const ACTION = 'repair indexes'

function checkOptions(consumers: readonly Consumer[], options: RepairOptions): void {
  assertKnownOptions(ACTION, options, ['redis', 'streams', 'group'])
  for (const consumer of consumers)
    if (!consumer?.keys) throw wrongUseError(ACTION, 'a consumer must come from defineConsumer')
  if (consumers.length + (options.streams?.length ?? 0) === 0)
    throw wrongUseError(ACTION, 'there must be at least one consumer, or one of streams')
}

interface Named {
  readonly group: string
  readonly keys: ConsumerKeys
}

/** The groups of consumers and of further streams, each once. */
async function groupsTo(
  sender: CallSender,
  consumers: readonly Consumer[],
  { streams = [], group }: RepairOptions,
): Promise<Iterable<Named>> {
  const groups = new Map(consumers.map((consumer): [string, Named] => [consumer.keys.state, consumer]))
  for (const stream of streams)
    for (const named of await groupsOf(sender, stream, group, consumers)) groups.set(named.keys.state, named)
  return groups.values()
}

/** The group that was named; else, of a stream without consumers, those that have something set aside. */
async function groupsOf(
  sender: CallSender,
  stream: string,
  group: string | undefined,
  consumers: readonly Consumer[],
): Promise<readonly Named[]> {
  const named = (name: string): Named => ({ group: name, keys: consumerKeys(stream, name) })
  if (group !== undefined) return [named(group)]
  if (consumers.some((consumer) => consumer.stream === stream)) return []
  const found: Named[] = []
  for (const { name } of parseXinfoGroups(await ask(sender, xinfoGroups(stream)))) {
    const consumers = parseXinfoConsumers(await ask(sender, xinfoConsumers(stream, name)))
    if (parkedOf(consumers) > 0) found.push(named(name))
  }
  return found
}

/** How many had no place; `undefined` where there is no such group. */
async function compareAll(sender: CallSender, group: string, keys: ConsumerKeys): Promise<number | undefined> {
  const { stream, due, waiting, state } = keys
  const call = { script: repair, keys: [stream, due, waiting, state], args: [group] }
  // a claimer may have stopped on its way: what it has passed is compared in a second round
  let rounds = (await ask(sender, ['hget', state, 'repairing'])) === null ? 1 : 2
  for (let repaired = 0; ; ) {
    const [reply = null] = await sender.send([call])
    if (reply instanceof RedisReplyError && reply.is('NOGROUP')) return undefined
    if (reply instanceof RedisReplyError) throw reply
    const [isDone, found] = replyItems(reply as RedisReply).map(Number) as [number, number]
    repaired += found
    if (isDone === 1 && --rounds === 0) return repaired
  }
}

/** @throws {RedisReplyError} The server refused. */
async function ask(sender: CallSender, call: RedisCall): Promise<RedisReply> {
  const [reply = null] = await sender.send([call])
  if (reply instanceof RedisReplyError) throw reply
  return reply as RedisReply
}
