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
