import type { OnceWithin } from '../connection.ts'

/** The first event of an id: an entry's id or when it is due, and until when it keeps others from being added. */
interface Marker {
  readonly place: string | number
  readonly until: number
  /** The delayed event that it stands for, or that it stood for and is in the stream. */
  readonly event: object | undefined
}

/** Markers of event ids in memory, as the scripts keep them on a server. */
export class MemoryMarkers {
  readonly #clock: { now(): number }
  readonly #streams = new Map<string, Map<string, Marker>>()

  constructor(clock: { now(): number }) {
    this.#clock = clock
  }

  /** Where the first event of that id is; `undefined`: there is none, or its window is over. */
  find(stream: string, eventId: string): Marker['place'] | undefined {
    const marker = this.#streams.get(stream)?.get(eventId)
    return marker && marker.until > this.#clock.now() ? marker.place : undefined
  }

  set(stream: string, { eventId, windowMs }: OnceWithin, place: Marker['place'], event?: object): void {
    const markers = this.#streams.get(stream) ?? new Map<string, Marker>()
    this.#streams.set(stream, markers.set(eventId, { place, until: this.#clock.now() + windowMs, event }))
  }

  /** Takes off the marker of a delayed event, not that of another event of its id. */
  remove(stream: string, eventId: string, event: object): void {
    const markers = this.#streams.get(stream)
    if (markers?.get(eventId)?.event === event) markers.delete(eventId)
  }
}
