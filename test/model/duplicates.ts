import { PARKED_CONSUMER } from '../../src/core/keys.ts'
import { assert } from './assert.ts'
import { eventOf, type Order, type Row, type Sight } from './world.ts'

/** An entry, as far as it matters here. */
interface Known extends Order {
  readonly id: string
}

/** A process that calls handlers. */
interface Caller {
  readonly name: string
  readonly isDead: boolean
}

interface Call {
  readonly by: Caller
  readonly entry: Known
}

/** What a marker says: which entry was handled, and whether its process held it without a break until then. */
interface Handled {
  readonly by: string
  readonly isSure: boolean
}

/** What is asked about the others, of the model. */
interface Surroundings {
  /** Milliseconds from which an entry may be taken over. */
  readonly idleMs: number
  holds(by: Caller, id: string): boolean
}

/**
 * What `idempotent` promises: of the entries of one event at most one is called at a time while its process holds it, none once its success is stored.
 * Whoever left an entry idle for too long may be overtaken by another one of its event.
 */
export class DuplicateModel {
  readonly #surroundings: Surroundings
  readonly #open = new Set<Call>()
  #handled: ReadonlyMap<string, Handled> = new Map()
  readonly #everHandled = new Set<string>()
  /** Entries that were left idle for too long, or gone, since they were delivered last. */
  readonly #loose = new Set<string>()
  /** Duplicates of all reports. */
  reported = 0

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings
  }

  /** Its event was handled at some time, by whichever entry. */
  isHandled({ orderId }: Order): boolean {
    return this.#everHandled.has(eventOf(orderId))
  }

  /** @returns To be called when the handler has ended. */
  called(by: Caller, entry: Known, said: string): () => void {
    const call = { by, entry }
    if (this.#isSure(call)) this.#assertOnly(entry, said)
    this.#open.add(call)
    return () => void this.#open.delete(call)
  }

  #assertOnly(entry: Known, said: string): void {
    const event = eventOf(entry.orderId)
    const other = [...this.#open].find((one) => eventOf(one.entry.orderId) === event && this.#isSure(one))
    assert(!other, `${said}: while ${other?.by.name} runs ${other?.entry.orderId} of the same event`)
    const handled = this.#handled.get(event)
    assert(!handled?.isSure, `${said}: its event was handled as ${handled?.by}`)
  }

  #isSure({ by, entry: { id } }: Call): boolean {
    return !by.isDead && this.#surroundings.holds(by, id) && !this.#loose.has(id)
  }

  /** Takes note of what a server holds. */
  seen({ handled, pending }: Pick<Sight, 'handled' | 'pending'>, isHeld: (id: string) => boolean): void {
    const known = (event: string, by: string): Handled => {
      const was = this.#handled.get(event)
      return was?.by === by ? was : { by, isSure: isHeld(by) && !this.#loose.has(by) }
    }
    this.#handled = new Map([...handled].map(([event, by]) => [event, known(event, by)]))
    for (const event of handled.keys()) this.#everHandled.add(event)
    const rows = new Map(pending.map((row) => [row.id, row]))
    for (const { entry } of this.#open) if (!rows.has(entry.id)) this.#loose.add(entry.id)
    for (const row of pending) if (this.#isIdle(row)) this.#loose.add(row.id)
  }

  #isIdle({ owner, idleMs }: Row): boolean {
    return owner !== PARKED_CONSUMER && idleMs >= this.#surroundings.idleMs
  }

  /** An entry was delivered to a process. */
  delivered(id: string): void {
    this.#loose.delete(id)
  }
}
