import type { Field } from '../../core/entry.ts'
import type { AppendEntries, OnceWithin, StreamTrim } from '../connection.ts'
import type { EventDelay } from '../delays.ts'
import type { MemoryServer } from './memory-server.ts'

/** An entry, and how it is added. */
interface Addition {
  readonly stream: string
  readonly fields: readonly Field[]
  readonly trim: StreamTrim
  readonly groups: readonly string[]
  readonly delay: EventDelay | undefined
  readonly once: OnceWithin | undefined
}

/** Adds entries in memory, as an appender does on a server. */
export function appenderTo(server: MemoryServer): AppendEntries {
  return async (stream, entries, trim, flags = [], delayed, once) => {
    const duplicates = new Set<number>()
    const answers = entries.map((fields, n) => {
      const [delay, groups] = [delayed?.delays[n], delayed?.groups ?? []]
      const addition = { stream, fields, trim, groups, delay, once: once?.[n] }
      const first = firstOf(server, addition)
      if (first !== undefined) duplicates.add(n)
      return first ?? add(server, addition)
    })
    const raised = flags.map((flag) => server.raise(flag))
    return { answers, raised, ...(duplicates.size > 0 && { duplicates }) }
  }
}

/** Where the first event of an id is that is published once. */
function firstOf({ markers, delays }: MemoryServer, { stream, delay, once }: Addition): string | number | undefined {
  if (!once || (delay && delays.dueOf(stream, delay) instanceof Error)) return undefined
  const { eventId } = once
  const marked = markers.find(once.markersOf ?? stream, eventId)
  if (marked !== undefined) return marked
  const waiting = delays.waits(stream, eventId)
  if (waiting) markers.set(once.markersOf ?? stream, once, waiting.due, waiting)
  return waiting?.due ?? (delay && delays.wasPromoted(stream, eventId))
}

function add(server: MemoryServer, addition: Addition): string | number | Error {
  const { stream, delay, once } = addition
  const place = delay ? server.delays.add(stream, delay, addition) : append(server, addition)
  if (once && !(place instanceof Error))
    server.markers.set(once.markersOf ?? stream, once, place, delay && server.delays.waits(stream, once.eventId))
  return place
}

function append(server: MemoryServer, { stream: key, fields, trim }: Addition): string {
  const stream = server.stream(key)
  const now = server.clock.now()
  const id = stream.add(fields, now)
  stream.trim(trim, now)
  return id
}
