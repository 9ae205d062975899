import type { Settlement, SettleWithCommands } from '../group.ts'
import type { JoinScript } from './join-calls.ts'
import { joinCalls } from './join-calls.ts'
import { acknowledgeWithEffectsScript, EFFECT_KIND } from './scripts/effects.ts'

const HOW: JoinScript = {
  script: acknowledgeWithEffectsScript,
  together: groupTogether,
  further: ({ effects }) => (effects?.commands ?? []).map((command) => [EFFECT_KIND, command] as const),
}

/** Settlements with effects, and with what policies join, as many a call as it has room for. */
export const effectScriptCalls: SettleWithCommands = (address, slot, settlements) =>
  joinCalls(HOW, address, slot, settlements)

/** Some settlements by what is settled together, in the order of each first one. */
export function groupTogether(settlements: readonly Settlement[]): readonly (readonly Settlement[])[] {
  return [...Map.groupBy(settlements, (settlement) => settlement.effects?.together ?? settlement).values()]
}
