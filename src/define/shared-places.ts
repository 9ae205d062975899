import type { MemberPlaces, PlaceTaker, SetPlaces } from './set-places.ts'

/**
 * The places of one invocation in which handlers of a set's members run: as many as its `concurrency`, whichever stream they are of. A place that is free goes to the member that
 * has had the least for its weight, of those that want one; among equals to the higher. A member that comes back takes its turn from now on, so that what it did not use it does
 * not claim later: a higher one is next, and a lower one is never starved.
 */
export class SharedPlaces implements SetPlaces {
  readonly #atOnce: number
  readonly #members: Member[] = []
  readonly runningByType = new Map<string, number>()
  readonly known = new Map<string, Map<string, number>>()
  /** How much for its weight the last one had that got a place. */
  #reached = 0
  #willHand = false
  /** The one beside which none may start anything. */
  #alone: Member | undefined
  #waiters: (() => void)[] = []

  constructor(atOnce: number) {
    this.#atOnce = atOnce
  }

  join(weight: number): MemberPlaces {
    const member = new Member(this, weight)
    this.#members.push(member)
    return member
  }

  get free(): number {
    return this.#members.reduce((free, { running, reserved }) => free - running - reserved, this.#atOnce)
  }

  /** Whether a place is free that no other member has the right to before it. */
  isNext(member: Member): boolean {
    if (this.free < 1 || (this.#alone && this.#alone !== member)) return false
    const at = this.#members.indexOf(member)
    const turn = this.#turnOf(member)
    return this.#members.every((other, n) => {
      const goesBefore = this.#turnOf(other) < turn || (this.#turnOf(other) === turn && n < at)
      return other === member || !goesBefore || !other.wants
    })
  }

  /** Notes that so many places went to a member. */
  took(member: Member, places: number): void {
    this.#reached = this.#turnOf(member)
    member.had = this.#reached + places / member.weight
  }

  /** Hands out what has become free, once all who are at work now have said what they want. */
  freed(): void {
    if (this.#willHand) return
    this.#willHand = true
    queueMicrotask(() => {
      this.#willHand = false
      this.#hand()
    })
  }

  /** One after the other. */
  async alone(member: Member): Promise<void> {
    while (this.#alone !== undefined) await this.#changed()
    this.#alone = member
    while (this.#members.some((other) => other !== member && other.running + other.reserved > 0)) await this.#changed()
  }

  endAlone(member: Member): void {
    if (this.#alone !== member) return
    this.#alone = undefined
    this.freed()
  }

  /** Resolves once a place has become free. */
  #changed(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#waiters.push(resolve)
    return promise
  }

  notify(): void {
    for (const member of this.#members) member.notify()
  }

  get isAllQuiet(): boolean {
    return this.#members.every(({ isQuiet }) => isQuiet)
  }

  /** How many of a batch a member may read now: all of it where no other has work, else its share, at least 1. */
  shareOf(member: Member, batch: number): number {
    if (!this.#members.some((other) => other !== member && other.isBusy)) return batch
    const weights = this.#members.reduce((sum, { weight }) => sum + weight, 0)
    return Math.ceil((batch * member.weight) / weights)
  }

  #turnOf({ had }: Member): number {
    return Math.max(had, this.#reached)
  }

  #hand(): void {
    for (const resolve of this.#waiters.splice(0)) resolve()
    for (let hasMoved = true; hasMoved && this.free > 0; ) {
      hasMoved = false
      for (const member of this.#members) {
        const { free } = this
        const wanted = member.wants
        member.hand()
        // what it wanted may be held back by now, or have no time left: others are next
        hasMoved ||= this.free < free || (wanted && !member.wants)
      }
    }
  }
}

class Member implements MemberPlaces {
  readonly weight: number
  /** Places that it has had, for its weight. */
  had = 0
  running = 0
  /** Places that it keeps for what it is about to start. */
  reserved = 0
  isQuiet = false
  taker: PlaceTaker | undefined = undefined
  readonly #places: SharedPlaces
  #waiting: { readonly most: number; readonly give: (places: number) => void } | undefined

  constructor(places: SharedPlaces, weight: number) {
    this.#places = places
    this.weight = weight
  }

  get wants(): boolean {
    return this.#waiting !== undefined || this.taker?.wantsPlace === true
  }

  get isBusy(): boolean {
    return (this.taker?.open ?? 0) > 0
  }

  get free(): number {
    return this.#places.free
  }

  get runningByType(): Map<string, number> {
    return this.#places.runningByType
  }

  get known(): Map<string, Map<string, number>> {
    return this.#places.known
  }

  changed(): void {
    this.#places.freed()
  }

  get mayStart(): boolean {
    return this.reserved > 0 || this.#places.isNext(this)
  }

  started(): void {
    this.running++
    if (this.reserved > 0) this.reserved--
    else this.#places.took(this, 1)
  }

  left(): void {
    this.running--
    this.#places.freed()
  }

  shareOf(batch: number): number {
    return this.#places.shareOf(this, batch)
  }

  async reserve(most: number): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>()
    this.#waiting = { most, give: resolve }
    this.hand()
    return promise
  }

  unreserve(): void {
    this.reserved = 0
    this.#places.freed()
  }

  hand(): void {
    const waiting = this.#waiting
    if (!waiting) this.taker?.fill()
    else if (this.#places.isNext(this)) {
      const places = Math.min(waiting.most, this.#places.free)
      this.#waiting = undefined
      this.reserved = places
      this.#places.took(this, places)
      waiting.give(places)
    }
  }

  alone(): Promise<void> {
    return this.#places.alone(this)
  }

  endAlone(): void {
    this.#places.endAlone(this)
  }

  notify(): void {
    this.taker?.notify()
  }

  rest(): void {
    this.isQuiet = true
    this.#places.notify()
  }

  get isAllQuiet(): boolean {
    return this.#places.isAllQuiet
  }
}
