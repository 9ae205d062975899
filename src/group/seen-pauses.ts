import { parsePauses } from '../core/pauses.ts'
import type { SeenPauses } from './group.ts'

/** What a request saw, as members of its result. @param text What lies beside the group; `''` if nothing does. */
export function seenPauses(text: string, now?: number): { readonly paused?: SeenPauses } {
  return text === '' ? {} : { paused: { pauses: parsePauses(text), ...(now !== undefined && { now }) } }
}
