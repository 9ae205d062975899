/** Lets work run together, or one piece of it alone. Who comes first goes first, so that neither kind waits for ever. */
export interface Gate {
  /** Others may go through it too, so that one may have to wait. */
  readonly isShared: boolean
  /** Work that must be alone waits for what runs together to end. */
  readonly isAwaited: boolean
  together(work: () => Promise<void>): Promise<void>
  alone(work: () => Promise<void>): Promise<void>
}

export function createGate(isShared: boolean): Gate {
  let together: Promise<unknown>[] = []
  let lastAlone: Promise<unknown> = Promise.resolve()
  let awaited = 0
  return {
    isShared,
    get isAwaited() {
      return awaited > 0
    },
    async together(work) {
      const running = lastAlone.then(work)
      const settled = running.catch(() => {})
      together.push(settled)
      await running.finally(() => {
        together = together.filter((other) => other !== settled)
      })
    },
    async alone(work) {
      awaited++
      const running = Promise.all([lastAlone, ...together]).then(() => {
        awaited--
        return work()
      })
      lastAlone = running.catch(() => {})
      await running
    },
  }
}
