import type { ClaimedEntry } from '../../group/delivery.ts'
import type { RetryOperations } from '../../group/redis/redis-retries.ts'
import type { Run } from '../run.ts'

/** Entries whose type one request asks for; fewer where the server does not know which field has it, and sends all of them. */
const PEEKS = { field: 100, all: 10 }

/** How many deliveries an entry gets, by its type. */
export type DeliveryLimit = (entry: ClaimedEntry) => number

/**
 * Finds out how many deliveries claimed entries get. Where routes differ in that, it depends on the type, which an entry that was not started does not show: the server is asked for
 * it, but only of those for which it decides whether their next delivery is the last, or whether they have one. Nothing is asked where all routes have as many.
 *
 * @throws {RedisConnectionError} No reply came.
 */
export async function deliveryLimitOf(
  { parts: { consumer } }: Run,
  claims: RetryOperations,
  entries: readonly ClaimedEntry[],
): Promise<DeliveryLimit> {
  const { codec, routes, routeBounds, settings } = consumer
  const { fewestDeliveries, mostDeliveries } = routeBounds
  const isOpen = ({ deliveryCount }: ClaimedEntry) =>
    deliveryCount + 1 >= fewestDeliveries && deliveryCount < mostDeliveries
  const asked = fewestDeliveries === mostDeliveries ? [] : entries.filter(isOpen)
  const known = new Map<string, number>()
  const { typeField } = codec
  const size = typeField === undefined ? PEEKS.all : PEEKS.field
  for (let at = 0; at < asked.length; at += size) {
    const some = asked.slice(at, at + size).map(({ id }) => id)
    const found = await claims.peek(some, typeField)
    for (const [n, fields] of found.entries()) {
      const type = typeField === undefined ? typeOf(some[n] as string, fields) : fields[0]?.[1].toString()
      const route = type === undefined ? undefined : routes.get(type)
      // what has no route is called by nobody
      known.set(some[n] as string, (route ?? { settings }).settings.maxDeliveries)
    }
  }
  return ({ id, deliveryCount }) =>
    known.get(id) ?? (deliveryCount + 1 < fewestDeliveries ? fewestDeliveries : mostDeliveries)

  function typeOf(id: string, fields: Parameters<typeof codec.decode>[0]): string | undefined {
    try {
      return codec.decode(fields, id).type
    } catch {
      return undefined // a dead letter once it is started
    }
  }
}
