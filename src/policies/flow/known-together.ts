import type { RunParts } from '../../run/parts.ts'

/** Numbers by event type that a run knows, and the runs of the other streams of its set in this invocation with it. */
export function knownTogether({ shared }: RunParts, name: string): Map<string, number> {
  const known = shared?.known.get(name) ?? new Map<string, number>()
  shared?.known.set(name, known)
  return known
}
