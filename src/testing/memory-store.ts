import type { PayloadStore } from '../core/claim-check.ts'

/** A store of `claimCheck` in memory. */
export interface MemoryStore extends PayloadStore {
  /** What it keeps, by key. */
  readonly payloads: ReadonlyMap<string, Uint8Array>
  /** For how long each is kept, in milliseconds from when it was last put; `undefined`: for ever. */
  readonly retentions: ReadonlyMap<string, number | undefined>
  /** Forgets a payload, as an expiry does. @returns Whether it was there. */
  delete(key: string): boolean
}

/** Makes a store of `claimCheck` for tests, which keeps payloads in this process until it ends. */
export function memoryStore(): MemoryStore {
  const payloads = new Map<string, Uint8Array>()
  const retentions = new Map<string, number | undefined>()
  return {
    payloads,
    retentions,
    async put(key, bytes, { retentionMs, signal }) {
      signal.throwIfAborted()
      payloads.set(key, Uint8Array.from(bytes))
      retentions.set(key, retentionMs)
    },
    get: async (key, { signal }) => taken(payloads.get(key), signal),
    delete: (key) => payloads.delete(key),
  }
}

function taken<T>(value: T, signal: AbortSignal): T {
  signal.throwIfAborted()
  return value
}
