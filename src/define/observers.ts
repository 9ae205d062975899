import { errorTexts } from '../core/dead-letter/dead-letter.ts'
import { wrongUseError } from '../core/options.ts'
import { ignoreRejection, promiseIfThenable } from '../core/thenable.ts'
import type { Observed, ObservedScopes, Observer } from './observe.ts'

/** Those who observe, notified one after the other. Whatever they throw is a warning of the process: it changes nothing. */
export class Observers {
  readonly #all: readonly Observer[]

  constructor(all: readonly Observer[]) {
    this.#all = all
  }

  tell<Name extends keyof Observed>(name: Name, observed: Observed[Name]): void {
    for (const observer of this.#all) {
      try {
        const listener = observer[name] as ((observed: Observed[Name]) => void) | undefined
        promiseIfThenable<unknown>(listener?.call(observer, observed))?.catch(warn)
      } catch (error) {
        warn(error)
      }
    }
  }

  /**
   * Runs something once, within the scopes of all, and answers what that came to, whatever they do: they may throw, give promises, call `run`
   * twice, later or not at all. What they get from `run` never fails, since nobody would be there for a promise that they derive from it.
   */
  within<Name extends keyof ObservedScopes, T>(name: Name, scope: ObservedScopes[Name], run: () => T): T {
    let ran: (() => T) | undefined
    const once = () => {
      ran ??= outcomeOf(run)
      return ran
    }
    let entered = 0
    const enter = (n: number): void => {
      if (n < entered || ran) return
      entered = n + 1
      const observer = this.#all[n]
      if (!observer) return void once()
      const inner = () => {
        enter(n + 1)
        return withoutFailure(once())
      }
      try {
        promiseIfThenable<unknown>(observer.within?.[name]?.(scope, inner))?.catch(warn)
      } catch (error) {
        warn(error)
      }
      enter(n + 1)
    }
    enter(0)
    return once()()
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

function withoutFailure<T>(outcome: () => T): T {
  try {
    const returned = outcome()
    const promise = promiseIfThenable<unknown>(returned)
    return (promise ? promise.catch(() => {}) : returned) as T
  } catch {
    return undefined as T
  }
}

/** The observers of an option; `undefined` if there are none. @throws {TypeError} Something else. */
export function resolveObservers(
  action: string,
  given: Observer | readonly Observer[] | undefined,
): Observers | undefined {
  const all: readonly Observer[] = Array.isArray(given) ? [...given] : given === undefined ? [] : [given as Observer]
  if (all.some((observer) => typeof observer !== 'object' || observer === null))
    throw wrongUseError(action, 'observe must be an observer, or an array of them')
  return all.length > 0 ? new Observers(all) : undefined
}

function warn(error: unknown): void {
  ignoreRejection(error)
  process.emitWarning(`An observer failed: ${errorTexts(error).message}`, 'MillraceWarning')
}
