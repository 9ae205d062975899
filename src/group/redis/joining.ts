import type { SettleWithCommands } from '../group.ts'
import { joinCalls } from './join-calls.ts'
import { acknowledgeWithCommandsScript } from './scripts/join.ts'

const HOW = { script: acknowledgeWithCommandsScript }

/** Settlements with what policies join, as many a call as it has room for. */
export const joinScriptCalls: SettleWithCommands = (address, slot, settlements) =>
  joinCalls(HOW, address, slot, settlements)
