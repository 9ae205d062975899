import type { ConsumerSettings } from '../define/consumer-settings.ts'
import type { Decision, PolicyJob, RunPolicy } from '../define/policy.ts'
import type { Route } from '../define/route.ts'
import { OversizeEntryError } from '../errors.ts'

/** What no consumer is without, by the hooks that policies have: asked where they are, after them. */
export class BuiltInPolicy implements RunPolicy {
  /** Routes whose handler could not hand its work on: nothing more is called of them, and nothing more is read. */
  readonly unavailable = new Set<Route>()
  readonly #maxEntryBytes: number

  constructor({ maxEntryBytes }: ConsumerSettings) {
    this.#maxEntryBytes = maxEntryBytes
  }

  limit(): number {
    return this.unavailable.size > 0 ? 0 : Infinity
  }

  inspect({
    bytes,
  }: PolicyJob & { readonly bytes: number }): Extract<Decision, { readonly action: 'deadLetter' }> | undefined {
    if (bytes <= this.#maxEntryBytes) return undefined
    return { action: 'deadLetter', reason: 'oversize', error: new OversizeEntryError(bytes, this.#maxEntryBytes) }
  }
}
