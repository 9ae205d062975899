/** What takes places: the pool of one member. */
export interface PlaceTaker {
  /** It could start something now, if it had a place. */
  readonly wantsPlace: boolean
  /** Jobs without an outcome. */
  readonly open: number
  /** Starts as much as there are places for. */
  fill(): void
  /** Looks whether what somebody waits for is so by now. */
  notify(): void
}

/** The places of one invocation in which handlers of a set's members run. */
export interface SetPlaces {
  /** Members join from the highest to the lowest, before any of them works. */
  join(weight: number): MemberPlaces
}

/** A member's part of the places of its set. */
export interface MemberPlaces {
  /** Who takes the places, from now on. */
  taker: PlaceTaker | undefined
  /** Its last look found nothing, and nothing of it runs; or it has ended. */
  isQuiet: boolean
  /** Places that nobody has. */
  readonly free: number
  /** Calls of event types that have a `concurrency` of their own, of all members. */
  readonly runningByType: Map<string, number>
  /** What policies of the members know together, by a name of theirs. */
  readonly known: Map<string, Map<string, number>>
  /** Something may start that was held back before. */
  changed(): void
  /** Whether a place is free, and this member's by right. */
  readonly mayStart: boolean
  /** A call took a place. */
  started(): void
  /** A call left its place. */
  left(): void
  /** How many of a batch may be read now: all of it where no other member has work, else the share by weight, at least 1. */
  shareOf(batch: number): number
  /** Waits for places to start something in, and keeps them. @returns How many: 1 or more. */
  reserve(most: number): Promise<number>
  /** What was reserved and not used is free again. */
  unreserve(): void
  /** Resolves once no other member runs anything; none starts anything until `endAlone`. */
  alone(): Promise<void>
  /** Does no harm to a member that is not alone. */
  endAlone(): void
  /** Nothing is left for it to do, as far as it knows. */
  rest(): void
  /** Whether no member has anything left to do. */
  readonly isAllQuiet: boolean
}
