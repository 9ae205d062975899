import type { AnsweredEntry } from '../../src/core/entry.ts'

/** A delivery with its fields as pairs, whichever way they came, and without what it does not say. */
export function plainDelivery<Delivery extends AnsweredEntry>(delivery: Delivery): Omit<Delivery, 'namesAndValues'> {
  const { namesAndValues: _, ...rest } = delivery
  const said = Object.entries(rest).filter(([, value]) => value !== undefined)
  return { ...Object.fromEntries(said), fields: delivery.fields } as Omit<Delivery, 'namesAndValues'>
}
