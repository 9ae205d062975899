import type { SeenDelays } from './group.ts'

/** What a request saw, as members of its result. @param text What lies beside the stream; `''` if nothing is delayed, or nobody asked. */
export function seenDelays(text: string, now?: number): { readonly delayed?: SeenDelays } {
  // anybody may have written it: what is no time is asked for
  const nextAt = /^\d{1,15}$/.test(text) ? Number(text) : 0
  return text === '' ? {} : { delayed: { nextAt, ...(now !== undefined && { now }) } }
}
