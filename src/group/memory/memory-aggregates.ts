import { VersionConflictError } from '../../core/aggregate-errors.ts'
import { entryBytes } from '../../core/entry.ts'
import { aggregateKey } from '../../core/keys.ts'
import type { AggregatePage, ExpectingEntry } from '../aggregates.ts'
import { MAX_AGGREGATE_BYTES, MAX_AGGREGATE_EVENTS } from '../aggregates.ts'
import type { Aggregates } from '../connection.ts'
import type { MemoryServer } from './memory-server.ts'

/** Events of aggregates in memory: of each, its events' entry ids in the order of their versions, also of those that are gone. */
export function memoryAggregates(server: MemoryServer): Aggregates {
  const idsOf = (
    stream: string,
    { aggregateType, aggregateId }: Pick<ExpectingEntry, 'aggregateType' | 'aggregateId'>,
  ) => {
    const key = aggregateKey(stream, aggregateType, aggregateId)
    const ids = server.aggregates.get(key) ?? []
    server.aggregates.set(key, ids)
    return ids
  }
  const isAtItsVersion = (stream: string, { idField, fields, expectedVersion, ...of }: ExpectingEntry) => {
    const [name, eventId] = fields[idField] ?? []
    const found = server.stream(stream).get(idsOf(stream, of)[expectedVersion] ?? '0-0')
    return found?.fields.some(([field, value]) => String(field) === name && String(value) === eventId)
  }
  return {
    async append(stream, entries, trim, flags = []) {
      const raised = () => flags.map((flag) => server.raise(flag))
      const given = new Map<string[], number>()
      const refused = entries.find((entry) => {
        const ids = idsOf(stream, entry)
        const version = given.get(ids) ?? ids.length
        given.set(ids, version + 1)
        return version !== entry.expectedVersion
      })
      if (refused && entries.every((entry) => isAtItsVersion(stream, entry)))
        return {
          answers: entries.map((entry) => idsOf(stream, entry)[entry.expectedVersion] as string),
          raised: raised(),
        }
      if (refused) {
        const version = idsOf(stream, refused).length
        const conflict = new VersionConflictError({ stream, ...refused }, refused.expectedVersion, version)
        return { answers: entries.map(() => conflict), raised: raised() }
      }
      const now = server.clock.now()
      const answers = entries.map((entry) => {
        const id = server.stream(stream).add(entry.fields, now)
        idsOf(stream, entry).push(id)
        server.stream(stream).trim(trim, now)
        return id
      })
      return { answers, raised: raised() }
    },
    async read(stream, of, from, to): Promise<AggregatePage> {
      const ids = idsOf(stream, of)
      const entries: AggregatePage['entries'][number][] = []
      let bytes = 0
      for (const id of ids.slice(from - 1, Math.min(to, from - 1 + MAX_AGGREGATE_EVENTS))) {
        const entry = server.stream(stream).get(id)
        if (!entry) break
        bytes += entryBytes(entry.fields)
        if (bytes > MAX_AGGREGATE_BYTES && entries.length > 0) break
        entries.push(entry)
      }
      return { newestVersion: ids.length, entries }
    },
  }
}
