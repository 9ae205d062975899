/**
 * Lets work run together, or one piece of it alone, across the consumers of one invocation. Who comes first goes first, so that neither kind waits
 * for ever; where there is time for one of them only, which one comes first has to differ from invocation to invocation.
 */
export interface IsolationGate {
  /** Others may go through it too, so that one may have to wait. */
  readonly isShared: boolean
  /** What must be alone goes first in this invocation. */
  readonly isAloneFirst: boolean
  /** Work that must be alone waits for what runs together to end. */
  readonly isAwaited: boolean
  /**
   * Says that a consumer knows its first work, or has none. Resolves once all have said so, or `patience` is over.
   *
   * @param wantsAlone Some of it must be alone.
   */
  arrive(wantsAlone: boolean, patience: Promise<void>): Promise<void>
  /** A consumer has no work at all. */
  pass(): void
  /** A consumer has nothing more that must be alone: whoever waits for it goes on. */
  leave(): void
  together(work: () => Promise<void>): Promise<void>
  alone(work: () => Promise<void>): Promise<void>
}

/**
 * @param consumers How many go through it.
 * @param aloneFirst What must be alone goes first, if there are others that it could wait for.
 */
export function createIsolationGate(consumers: number, aloneFirst = false): IsolationGate {
  const isShared = consumers > 1
  const isAloneFirst = aloneFirst && isShared
  let together: Promise<unknown>[] = []
  let lastAlone: Promise<unknown> = Promise.resolve()
  let awaited = 0
  let missing = consumers
  let isAloneWanted = false
  const allHere = Promise.withResolvers<void>()
  const firstAlone = Promise.withResolvers<void>()
  return {
    isShared,
    isAloneFirst,
    get isAwaited() {
      return awaited > 0
    },
    async arrive(wantsAlone, patience) {
      isAloneWanted ||= wantsAlone
      if (--missing <= 0) allHere.resolve()
      if (isAloneFirst) await Promise.race([allHere.promise, patience])
    },
    pass() {
      if (--missing <= 0) allHere.resolve()
    },
    leave: firstAlone.resolve,
    async together(work) {
      if (isAloneFirst && isAloneWanted) await firstAlone.promise
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
      lastAlone = running.catch(() => {}).then(firstAlone.resolve)
      await running
    },
  }
}
