/** Has requests go one after the other: over REST two that are under way together may be carried out in either order. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve()
  #underWay = 0

  /** Makes a request once those before it have ended; at once, if there are none: a read ahead is sent before handlers start. */
  async take<T>(ask: () => Promise<T>): Promise<T> {
    const asking = this.#underWay++ === 0 ? ask() : this.#last.then(ask)
    this.#last = asking.catch(() => {})
    try {
      return await asking
    } finally {
      this.#underWay--
    }
  }
}
