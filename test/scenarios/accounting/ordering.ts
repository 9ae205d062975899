/** Keys that events have. */
const KEYS = 5

/** The ordering key of an event, by its id. */
export function keyOf(eventId: string): string {
  return `key-${Number(eventId.replace(/\D/g, '')) % KEYS}`
}
