import type { ConsumerReport, Observed } from 'millrace'
import type { Books, Invocation, Visit } from './books.ts'

/** A group's part of an invocation. */
export interface Part extends Omit<Invocation, 'report'> {
  readonly group: string
  readonly report: ConsumerReport
  readonly isFailed: boolean
}

/** One per invocation and group. */
export function partsOf({ invocations }: Books): Part[] {
  return invocations.flatMap(({ report: { consumers }, ...invocation }) =>
    consumers.map((report) => {
      const { group } = report
      return { ...invocation, group, report, isFailed: invocation.failedFor.includes(group) }
    }),
  )
}

/** What observers got under that name. */
export function toldOf<Name extends keyof Observed>(
  { told }: Books,
  name: Name,
): (Observed[Name] & { life: string })[] {
  return told.flatMap((one) => (one.name === name ? [{ ...(one.observed as Observed[Name]), life: one.life }] : []))
}

/** What observers learned about one part. */
export interface ToldOfPart {
  readonly read: Observed['entriesRead'][]
  readonly claimed: Observed['entriesClaimed'][]
  readonly ended: Observed['handlerEnded'][]
  readonly acked: Observed['acked'][]
  readonly deadLettered: Observed['deadLettered'][]
  readonly refused: Observed['deadLetterRefused'][]
}

export function toldOfParts(books: Books): (part: Pick<Part, 'requestId' | 'group'>) => ToldOfPart {
  const by = <T>(
    told: readonly T[],
    placeOf: (one: T) => { invocation: Observed['acked']['invocation']; group: string },
  ) => {
    const groups = Map.groupBy(told, (one) => {
      const { invocation, group } = placeOf(one)
      return `${invocation.context.awsRequestId} ${group}`
    })
    return ({ requestId, group }: Pick<Part, 'requestId' | 'group'>) => groups.get(`${requestId} ${group}`) ?? []
  }
  const read = by(toldOf(books, 'entriesRead'), (one) => one)
  const claimed = by(toldOf(books, 'entriesClaimed'), (one) => one)
  const ended = by(toldOf(books, 'handlerEnded'), ({ call }) => call)
  const acked = by(toldOf(books, 'acked'), (one) => one)
  const ofNotice = ({ invocation, notice }: Observed['deadLettered']) => ({ invocation, group: notice.group })
  const deadLettered = by(toldOf(books, 'deadLettered'), ofNotice)
  const refused = by(toldOf(books, 'deadLetterRefused'), ofNotice)
  return (part) => ({
    read: read(part),
    claimed: claimed(part),
    ended: ended(part),
    acked: acked(part),
    deadLettered: deadLettered(part),
    refused: refused(part),
  })
}

/** Acknowledged as a duplicate, without a call. */
export function isSkipped({ isDuplicate = false }: { readonly isDuplicate?: boolean }): boolean {
  return isDuplicate
}

/** Whether a visit was a failed delivery; one that was handed back was none. */
export function hasFailed({ ending }: Visit): boolean {
  return ending !== 'succeeded' && ending !== 'unavailable'
}

/** What becomes of a visit's entry, by the rules that handlers steer by. */
export function outcomeOf({ ending, deliveryCount }: Visit, maxDeliveries: number): string {
  if (ending === 'succeeded') return 'ack'
  if (ending === 'unavailable') return 'release'
  return ending === 'hopeless' || deliveryCount >= maxDeliveries ? 'dead-letter' : 'retry'
}

/** Entries whose dead letters are there, or were dropped. */
export function buriedIn({ operated, holdings }: Books, group: string): string[] {
  const dropped = operated.filter((one) => one.group === group && one.outcome === 'dropped').map(({ letter }) => letter)
  return [...(holdings[group]?.letters ?? []), ...dropped].map(({ entryId }) => entryId)
}

/** Entries that a group has read: all that were in the stream, but for those that were trimmed before. */
export function deliveredTo({ stream, trimmed }: Books, group: string): string[] {
  return [...stream, ...trimmed.filter(({ unreadIn }) => !unreadIn.includes(group)).map(({ entryId }) => entryId)]
}

export function visitsOf({ visits }: Books, group: string): Visit[] {
  return visits.filter((visit) => visit.group === group)
}

export function cutParts(books: Books, group: string): Part[] {
  return partsOf(books).filter((part) => part.group === group && part.troubles.has('cut'))
}

/** How many outcomes may be written otherwise than such a report says. */
export function hidden({ report: { ackMissed, superseded, unsettled } }: Part): number {
  return ackMissed + superseded + unsettled
}
