import { describeError } from './core/dead-letter.ts'
import { cannot } from './core/options.ts'
import { isThenable } from './core/thenable.ts'
import type { Observed, ObservedScopes, Observer } from './observe.ts'

/** Those who observe, told one after the other. Whatever they throw is a warning of the process: it changes nothing. */
export class Observers {
  readonly #all: readonly Observer[]

  constructor(all: readonly Observer[]) {
    this.#all = all
  }

  tell<Name extends keyof Observed>(name: Name, observed: Observed[Name]): void {
    for (const observer of this.#all) {
      try {
        const listener = observer[name] as ((observed: Observed[Name]) => void) | undefined
        const told: unknown = listener?.call(observer, observed)
        if (isThenable(told)) told.then(undefined, warn)
      } catch (error) {
        warn(error)
      }
    }
  }

  /** Runs something once, within the scopes of all. */
  within<Name extends keyof ObservedScopes, T>(name: Name, scope: ObservedScopes[Name], run: () => T): T {
    let ran: (() => T) | undefined
    const once = () => {
      ran ??= outcomeOf(run)
      return ran()
    }
    const nested = this.#all.reduceRight<() => T>((inner, { within }) => {
      return within?.[name] ? () => within[name]?.(scope, inner) as T : inner
    }, once)
    try {
      nested()
    } catch (error) {
      if (!ran) warn(error)
    }
    return once()
  }
}

/** What a function returned or threw, to be had again. */
function outcomeOf<T>(run: () => T): () => T {
  try {
    const returned = run()
    return () => returned
  } catch (error) {
    return () => {
      throw error
    }
  }
}

/** The observers of an option; `undefined` if there are none. @throws {TypeError} Something else. */
export function resolveObservers(
  action: string,
  given: Observer | readonly Observer[] | undefined,
): Observers | undefined {
  const all = (Array.isArray(given) ? given : given === undefined ? [] : [given]) as readonly Observer[]
  if (all.some((observer) => typeof observer !== 'object' || observer === null))
    throw cannot(action, 'observe must be an observer, or an array of them')
  return all.length > 0 ? new Observers(all) : undefined
}

function warn(error: unknown): void {
  process.emitWarning(`An observer failed: ${describeError(error).message}`, 'MillraceWarning')
}
