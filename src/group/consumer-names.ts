import type { SlotKind } from './group.ts'

/** Claimers that may run at once. */
export const CLAIMER_SLOT_COUNT = 2

/** The consumer names of a kind of slot, the lowest first. */
export function slotConsumerNames(kind: SlotKind, slots: number): string[] {
  return Array.from({ length: slots }, (_, n) => `${kind}-${n}`)
}

/** Names that this package gives, `parked` apart. */
const OWN_NAME = /^(poller|claimer)-(\d+|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})$/

/** Whether a consumer name is one of ours beyond today's slots: a deployment had more of them, or memory was full. */
export function isLeftOverConsumer(consumerName: string, pollerSlots: number): boolean {
  if (!OWN_NAME.test(consumerName)) return false
  const [, kind, number] = /^(poller|claimer)-(\d+)$/.exec(consumerName) ?? []
  return number === undefined || Number(number) >= (kind === 'poller' ? pollerSlots : CLAIMER_SLOT_COUNT)
}
