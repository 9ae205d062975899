import type { Clock } from '../../clock.ts'
import { systemClock } from '../../clock.ts'
import type { Field } from '../../core/entry.ts'
import { consumerKeys, isKeyOfConsumer } from '../../core/keys.ts'
import { assertKnownOptions, wrongUseError } from '../../core/options.ts'
import type { Consumer } from '../../define/consumer.ts'
import { listPolicyKeyNeeds } from '../../define/policy-needs.ts'
import { quotedValue } from '../../errors.ts'
import type { Connection } from '../connection.ts'
import type { HeldEntry } from '../delivery.ts'
import type { Ordering } from '../ordering.ts'
import { laneKeys } from '../ordering.ts'
import { memoryAggregates } from './memory-aggregates.ts'
import { appenderTo } from './memory-appending.ts'
import { MemoryGroup } from './memory-group.ts'
import { MemoryGroupBase } from './memory-group-base.ts'
import { memoryKeeping } from './memory-keeping.ts'
import { MemoryOrderedBase } from './memory-ordered-base.ts'
import { MemoryOrderedGroup } from './memory-ordered-group.ts'
import { MemoryPausing } from './memory-pausing.ts'
import { MemoryServer } from './memory-server.ts'
import { copyOf } from './memory-value-kinds.ts'
import { isMemoryCommand } from './memory-values.ts'

/** What streams in memory go by. */
export interface MemoryOptions {
  /** Time for idle times, leases, due times and entry ids. Default: the system's. */
  readonly clock?: Clock
}

/** A connection to streams in memory, and what a test wants to see of them or do to them from outside. */
export interface MemoryConnection extends Connection {
  /** The entries of a stream, dead letters included, oldest first; their fields as text. */
  entries(stream: string): readonly MemoryEntry[]
  /** The pending entries of a group, oldest first; none where there is no such group. */
  pending(stream: string, group: string): readonly MemoryPending[]
  /** The delayed events of a stream, in due order; their fields as text. */
  delayed(stream: string): readonly MemoryDelayed[]
  /** What a key of effects or policies holds: text, a set (also of a HyperLogLog's elements), a hash or a sorted set by its names; a copy. */
  value(key: string): MemoryValue | undefined
  /** Removes the oldest entries, also pending ones, so that at most `length` stay. */
  trim(stream: string, length: number): void
  /** Removes a group and what was pending in it, as XGROUP DESTROY does. */
  destroyGroup(stream: string, group: string): void
}

/** What a key in memory holds. */
export type MemoryValue = string | ReadonlySet<string> | ReadonlyMap<string, string | number>

/** An entry of a stream in memory. */
export interface MemoryEntry {
  /** `<ms>-<seq>`. */
  readonly id: string
  readonly fields: readonly (readonly [name: string, value: string])[]
}

/** A delayed event in memory. */
export interface MemoryDelayed extends Pick<MemoryEntry, 'fields'> {
  readonly eventId: string
  readonly deliverAt: Date
}

/** A pending entry of a group in memory. */
export interface MemoryPending extends HeldEntry {
  readonly consumerName: string
  readonly idleMs: number
  /** What it failed with last, as `error` of the first of a key in `inspectStreams`: of what is set aside in the order of its key. */
  readonly lastError?: string
}

/**
 * Streams, groups and dead letters in memory: what `redis` takes in a test. They last as long as the connection.
 *
 * @throws {TypeError} A bad option.
 */
export function connectMemory(options: MemoryOptions = {}): MemoryConnection {
  assertKnownOptions('connect to memory', options, ['clock'])
  return createMemoryConnection(new MemoryServer(options.clock ?? systemClock))
}

/** One more process that talks to a server. */
export function createMemoryConnection(server: MemoryServer): MemoryConnection {
  const lived = new Set<string>()
  const now = () => server.clock.now()
  const lastErrorOf = (stream: string, group: string, id: string) => {
    const lastError = server.lanes(consumerKeys(stream, group).state).errors.get(id)
    return lastError === undefined ? {} : { lastError }
  }
  return {
    assertServes(action, consumer) {
      const { keys } = consumer as Consumer
      for (const { policy, key, commands } of listPolicyKeyNeeds(consumer as Consumer)) {
        // what lies beside the group is for scripts, which memory has in its own words
        if (isKeyOfConsumer(keys, key) || Object.values(laneKeys(keys)).includes(key)) continue
        const unknown = commands.find((command) => !isMemoryCommand(command))
        if (unknown !== undefined)
          throw wrongUseError(
            action,
            `policy ${quotedValue(policy)} needs ${unknown.toUpperCase()} on ${quotedValue(key)}, which memory does not know`,
          )
      }
    },
    group: (address) =>
      Object.assign(new MemoryGroup(new MemoryGroupBase(address, server, lived)), {
        inOrder: (ordering: Ordering) =>
          new MemoryOrderedGroup(new MemoryOrderedBase(address, server, lived, ordering)),
      }),
    append: appenderTo(server),
    aggregates: memoryAggregates(server),
    pausing: new MemoryPausing(server),
    delaying: server.delays,
    keeping: memoryKeeping(server),
    undone: async (stream) => memoryKeeping(server).undone(stream),
    close: async () => {},
    entries: (key) =>
      (server.streams.get(key)?.entries ?? []).map(({ id, fields }) => ({ id, fields: fields.map(asText) })),
    pending: (key, group) =>
      server.streams
        .get(key)
        ?.groups.get(group)
        ?.rows.map(([id, { owner, deliveredAt, deliveryCount }]) => ({
          id,
          consumerName: owner,
          idleMs: now() - deliveredAt,
          deliveryCount,
          ...lastErrorOf(key, group, id),
        })) ?? [],
    delayed: (key) =>
      server.delays
        .waiting(key)
        .map(({ eventId, due, fields }) => ({ eventId, deliverAt: new Date(due), fields: fields.map(asText) })),
    value: (key) => {
      const value = server.values.valueOf(key)
      return value === undefined ? undefined : copyOf(value)
    },
    trim: (key, length) =>
      void server.streams.get(key)?.trim({ kind: 'length', maxLength: length, exact: true }, now()),
    destroyGroup: (key, group) => void server.streams.get(key)?.groups.delete(group),
  }
}

function asText([name, value]: Field): readonly [name: string, value: string] {
  return [name.toString(), value.toString()]
}
