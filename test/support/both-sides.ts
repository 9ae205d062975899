import type { ClaimerOperations, Group, PollerRunEnd } from '../../src/group/group.ts'
import { claimerOperationsOf } from '../../src/group/redis/redis-claims.ts'

export type BothSides = Group & ClaimerOperations

/** A group with what a claimer brings along, and with members of a test's own. */
export function bothSides(group: Group, change: (both: BothSides) => Partial<BothSides> = () => ({})): BothSides {
  const claims = claimerOperationsOf(group)
  const having = (changed: Partial<BothSides>) =>
    new Proxy(group as BothSides, {
      has: (_target, name) => name in group || name in claims,
      get: (_target, name: keyof BothSides, both: BothSides) => {
        if (name === 'claims') return both
        const owner = (name in group ? group : claims) as BothSides
        const member = changed[name] ?? owner[name]
        return typeof member === 'function' ? (member as () => unknown).bind(owner) : member
      },
    })
  return having(change(having({})))
}

/** How a poller's run ends that settled all it read. */
export const ended = (end: Partial<PollerRunEnd> = {}): PollerRunEnd => ({
  known: [],
  turn: 1_000,
  isInDoubt: false,
  takesFlag: false,
  hasAcked: false,
  ...end,
})
