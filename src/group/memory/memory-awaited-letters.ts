import { compareEntryIds } from '../../core/entry.ts'
import { LETTERS_AT_ONCE } from '../redis/order/go-on.ts'
import type { StoredLanes } from './memory-server.ts'

/** A place in a lane that a dead letter has. */
export interface AwaitedLetter {
  readonly lane: string
  /** Of its entry. */
  readonly id: string
  readonly letterId: string
}

/** Whether the first of a lane is the entry of a dead letter that the lane waits for. */
export function isAwaitedFirst(first: string | undefined): boolean {
  return first?.startsWith('#') === true
}

/** The entry of the first letter that a lane waits for. */
export function awaitedIn({ awaited }: StoredLanes, lane: string): string | undefined {
  return [...(awaited.get(lane)?.keys() ?? [])].sort(compareEntryIds)[0]
}

export function awaitLetter({ awaited }: StoredLanes, { lane, id, letterId }: AwaitedLetter): void {
  awaited.set(lane, (awaited.get(lane) ?? new Map<string, string>()).set(id, letterId))
}

export function awaitNoMore({ awaited }: StoredLanes, lane: string, id: string): void {
  const letters = awaited.get(lane)
  letters?.delete(id)
  if (letters?.size === 0) awaited.delete(lane)
}

/** The letters that lanes wait for. */
export function awaitedLetters({ awaited }: StoredLanes): AwaitedLetter[] {
  return [...awaited].flatMap(([lane, letters]) => [...letters].map(([id, letterId]) => ({ lane, id, letterId })))
}

/** The next letters to search for: as many as one call searches for on a server. */
export function nextToLookFor(lanes: StoredLanes): readonly AwaitedLetter[] {
  const place = ({ lane, id }: AwaitedLetter) => `${lane}\n${id}`
  const { lookedFor = '' } = lanes
  const all = awaitedLetters(lanes).sort((a, b) => (place(a) < place(b) ? -1 : 1))
  const ahead = all.filter((one) => place(one) > lookedFor)
  const page = (ahead.length > 0 ? ahead : all).slice(0, LETTERS_AT_ONCE)
  const last = page.at(-1)
  lanes.lookedFor = last && page.length === LETTERS_AT_ONCE ? place(last) : ''
  return page
}
