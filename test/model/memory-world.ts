import type { Field } from '../../src/core/entry.ts'
import type { RedisConnectionError } from '../../src/errors.ts'
import type { EntryWaiter, Group } from '../../src/group/group.ts'
import { createMemoryConnection } from '../../src/group/memory/memory-connection.ts'
import { MemoryDelays } from '../../src/group/memory/memory-delays.ts'
import { MemoryServer } from '../../src/group/memory/memory-server.ts'
import { MemoryValues } from '../../src/group/memory/memory-values.ts'
import { bothSides } from '../support/both-sides.ts'
import { delaysOf, requestOf } from './lossy-group.ts'
import type { Caller, Sight, World } from './world.ts'
import {
  dueOf,
  eventOf,
  fieldsOf,
  GROUP,
  handledBy,
  KEYS,
  letterOf,
  MARKERS,
  pauseText,
  SLOTS,
  STREAM,
  streamEntry,
  TRIMMED_IDLE_MS,
} from './world.ts'

/** Streams in memory. A call is one method of the group port, in the parts that a group on Redis would send. */
export function createMemoryWorld(): World {
  let now = Date.UTC(2030, 0, 1)
  const server = new MemoryServer({ now: () => now, monotonic: () => now, after: () => () => {} })
  const view = createMemoryConnection(server)
  let letters: Sight['letters'] = []
  const events = new Set<string>()
  const clear = async () => {
    for (const kept of [server.streams, server.leases, server.states, server.dueTimes, server.waiting, server.pauses])
      kept.clear()
    const emptied: { delays: MemoryDelays; values: MemoryValues } = server
    emptied.delays = new MemoryDelays(server)
    emptied.values = new MemoryValues(server)
  }
  /** There is something to read, or no group to wait for. */
  const isThere = () => {
    const stream = server.streams.get(STREAM)
    const group = stream?.groups.get(GROUP)
    return !stream || !group || stream.after(group.lastDeliveredId, 1).length > 0
  }
  return {
    name: 'memory',
    resends: false,
    connect(caller) {
      const connection = createMemoryConnection(server)
      return {
        ...connection,
        ...delaysOf(connection, server, caller),
        group: (address, remainingMs) =>
          new Proxy(bothSides(connection.group(address, remainingMs)), {
            get(group, name, asked: unknown) {
              if (name === 'claims') return asked
              if (name === 'openWaiter') return () => openWaiter(group.openWaiter?.(), caller, isThere)
              const member: unknown = Reflect.get(group, name)
              if (typeof member !== 'function') return member
              return async (...args: unknown[]) => {
                const request = requestOf(group, String(name), args)
                return request.parts > 0 ? caller.call(request, remainingMs?.()) : request.reply([])
              }
            },
          }) as Group,
      }
    },
    async look() {
      const written = server.streams.get(KEYS.deadLetters)?.entries ?? []
      letters = [
        ...letters.slice(0, written.length),
        ...written.slice(letters.length).map(({ fields }) => letterOf(fields.map(asText))),
      ]
      const stream = server.streams.get(STREAM)
      const group = stream?.groups.get(GROUP)
      const waiting = server.delays.waiting(STREAM)
      const entries = (stream?.entries ?? []).map(({ id, fields }) =>
        streamEntry(id, textOf(fields, 'eventId'), () => textOf(fields, 'payload')),
      )
      for (const { orderId } of entries) if (orderId !== '') events.add(eventOf(orderId))
      return {
        lastDelivered: group?.lastDeliveredId,
        nowMs: now,
        stream: entries,
        delays: {
          waiting: waiting.map(({ eventId, due }) => [eventId, due] as const),
          nextAt: server.delays.nextDueAt(STREAM),
          records: waiting.length,
        },
        pending: (group?.rows ?? []).map(([id, { owner, deliveredAt, deliveryCount }]) => ({
          id,
          owner,
          idleMs: now - deliveredAt,
          count: deliveryCount,
        })),
        letters,
        ...dueOf([...(server.dueTimes.get(KEYS.due) ?? [])], now),
        waiting: [...(server.waiting.get(KEYS.waiting) ?? [])].flatMap(([condition, ids]) =>
          [...ids].map(([id, count]) => `${condition} ${id} ${count}`),
        ),
        handled: new Map(
          [...events].flatMap((event) => {
            const value = server.values.valueOf(MARKERS + event)
            const by = typeof value === 'string' ? handledBy(value) : undefined
            return by === undefined ? [] : [[event, by] as const]
          }),
        ),
        leases: new Map(
          SLOTS.flatMap((name) => {
            const token = server.holder(KEYS.slot(name))
            return token === undefined ? [] : [[name, token] as const]
          }),
        ),
        consumers: [...(group?.consumers.keys() ?? [])],
      }
    },
    async pass(ms) {
      now += ms
    },
    async add(entries) {
      for (const [id, orderId] of entries) {
        events.add(eventOf(orderId))
        server.stream(STREAM).add(fieldsOf(orderId).map(asBytes), now, id)
      }
    },
    async trim(ids) {
      const group = server.streams.get(STREAM)?.groups.get(GROUP)
      for (const id of ids) {
        const pending = group?.pending.get(id)
        if (pending) group?.pending.set(id, { ...pending, deliveredAt: now - TRIMMED_IDLE_MS })
        server.streams.get(STREAM)?.remove(id)
      }
    },
    async lose(what) {
      if (what === 'group') view.destroyGroup(STREAM, GROUP)
      else if (what === 'stream') server.streams.delete(STREAM)
      else await clear()
    },
    nowMs: () => now,
    driftMs: () => 0,
    jam: async () => {},
    async pause(name) {
      if (name === undefined) server.pauses.delete(KEYS.paused)
      else server.pauses.set(KEYS.paused, pauseText(name))
    },
    clear,
  }
}

/** How much later than its wait an answer may come; as on Redis. */
const ANSWER_MS = 800

/** Each read of it is a call, which the server holds until there is something to answer with. */
function openWaiter(waiter: EntryWaiter | undefined, caller: Caller, isThere: () => boolean): EntryWaiter {
  const { maxWaitMs = 0 } = waiter ?? {}
  return {
    maxWaitMs,
    read(slot, request) {
      const ms = Math.min(request.waitMs, maxWaitMs)
      const read = {
        label: 'read',
        parts: 1,
        hold: { ms, isOver: isThere },
        carryOut: async (from: number, to: number) =>
          from < to ? [await waiter?.read(slot, { ...request, waitMs: 0 })] : [],
        reply(answers: readonly unknown[], lost?: RedisConnectionError) {
          if (lost) throw lost
          return answers[0] as Awaited<ReturnType<EntryWaiter['read']>>
        },
      }
      return caller.call(read, ms + ANSWER_MS)
    },
    end: async () => {},
  }
}

function asBytes([name, value]: readonly [string, string]): readonly [Buffer, Buffer] {
  return [Buffer.from(name), Buffer.from(value)]
}

function textOf(fields: readonly Field[], wanted: string): string {
  const [, value] = fields.find(([name]) => name.length === wanted.length && name.toString() === wanted) ?? []
  return value?.toString() ?? ''
}

function asText([name, value]: Field): readonly [string, string] {
  return [name.toString(), value.toString()]
}
