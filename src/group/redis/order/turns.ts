/** Has requests go one after the other: over REST two that are under way together may be carried out in either order. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve()

  /** Makes a request once those before it have ended. */
  take<T>(ask: () => Promise<T>): Promise<T> {
    const asking = this.#last.then(ask)
    this.#last = asking.catch(() => {})
    return asking
  }
}
