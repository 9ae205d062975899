/** What a table knows of one key. The key's true weight is at most `count`, and at least `count - error`. */
export interface Counter<Data> {
  readonly key: string
  readonly count: number
  readonly error: number
  /** What the caller collects for the key. Made anew where the key took another one's place: then it is of a part of the key's entries. */
  readonly data: Data
}

interface Place<Data> {
  key: string
  count: number
  error: number
  data: Data
  /** Where it stands in the heap. */
  at: number
}

/**
 * Counts keys in bounded memory, exactly while there are no more than `capacity` of them. After that a new key takes the place of the one that
 * has been counted least, and that one's count as its error: no error is above total ÷ capacity, and no key above that is left out.
 *
 * @see https://www.cs.ucsb.edu/sites/default/files/documents/2005-23.pdf Space-Saving, by its authors
 */
export class SpaceSaving<Data = undefined> {
  /** Of all that was added. */
  total = 0
  /** Whether keys have lost their places, so that counts are no longer exact. */
  isFull = false
  readonly #capacity: number
  readonly #makeData: () => Data
  readonly #places = new Map<string, Place<Data>>()
  /** The least count first; a parent counts no more than its two children. */
  readonly #heap: Place<Data>[] = []

  constructor(capacity: number, makeData: () => Data) {
    this.#capacity = capacity
    this.#makeData = makeData
  }

  /** Keys that have a place: of all keys, while the table is not full. */
  get size(): number {
    return this.#heap.length
  }

  /** Adds to a key, and gives what is collected for it. */
  add(key: string, weight = 1): Data {
    this.total += weight
    const place = this.#places.get(key) ?? this.#place(key)
    place.count += weight
    this.#sink(place)
    return place.data
  }

  /** All that have a place, the highest count first, of equal ones the surer, then by their keys. */
  counters(): Counter<Data>[] {
    return this.#heap.toSorted((a, b) => b.count - a.count || a.error - b.error || (a.key < b.key ? -1 : 1))
  }

  #place(key: string): Place<Data> {
    return this.#heap.length < this.#capacity ? this.#newPlace(key) : this.#takePlace(key)
  }

  #newPlace(key: string): Place<Data> {
    const place = { key, count: 0, error: 0, data: this.#makeData(), at: this.#heap.length }
    this.#heap.push(place)
    this.#places.set(key, place)
    this.#rise(place)
    return place
  }

  #takePlace(key: string): Place<Data> {
    const place = this.#heap[0] as Place<Data>
    this.isFull = true
    this.#places.delete(place.key)
    this.#places.set(key, place)
    place.key = key
    place.error = place.count
    place.data = this.#makeData()
    return place
  }

  /** Moves a place that counts less than its parents. */
  #rise(place: Place<Data>): void {
    while (place.at > 0) {
      const parent = this.#heap[(place.at - 1) >> 1] as Place<Data>
      if (parent.count <= place.count) return
      this.#swap(place, parent)
    }
  }

  /** Moves a place that counts more than its children. */
  #sink(place: Place<Data>): void {
    for (;;) {
      const left = this.#heap[2 * place.at + 1]
      const right = this.#heap[2 * place.at + 2]
      const least = right && left && right.count < left.count ? right : left
      if (least === undefined || least.count >= place.count) return
      this.#swap(place, least)
    }
  }

  #swap(a: Place<Data>, b: Place<Data>): void {
    const { at } = a
    a.at = b.at
    b.at = at
    this.#heap[a.at] = a
    this.#heap[b.at] = b
  }
}
