import type { Consumer } from '../consumer.ts'
import type { Connection } from '../group/group.ts'

/**
 * The consumers of a poller or claimer, as a list.
 *
 * @throws {TypeError} None, something else, the same group twice, or no connection.
 */
export function asConsumers(
  action: string,
  given: Consumer | readonly Consumer[],
  redis: Connection,
): readonly Consumer[] {
  const consumers = (Array.isArray(given) ? given : [given]) as readonly Consumer[]
  if (consumers.length === 0) throw new TypeError(`Cannot ${action}: there must be at least one consumer`)
  const seen = new Set<string>()
  for (const consumer of consumers) {
    if (!consumer?.settings || !consumer.keys)
      throw new TypeError(`Cannot ${action}: a consumer must come from defineConsumer`)
    const name = `group ${JSON.stringify(consumer.group)} on stream ${JSON.stringify(consumer.stream)}`
    if (seen.has(name)) throw new TypeError(`Cannot ${action}: ${name} must appear once, got it twice`)
    seen.add(name)
  }
  if (typeof redis?.group !== 'function') {
    throw new TypeError(
      `Cannot ${action}: redis must be a connection, as from connectIoredis(url) or connectUpstash(options)`,
    )
  }
  return consumers
}
