import { JOINABLE } from '../../core/joinable.ts'
import type { JoinedCommand } from '../../core/outcome.ts'
import type { GroupAddress, Joining, Settlement, Slot } from '../group.ts'
import { join } from './scripts/join.ts'
import { SCRIPT_ENTRIES } from './scripts/script.ts'
import type { Call } from './sender.ts'
import type { Argument } from './transport.ts'

/** Arguments that one call of the script takes at most: a service refuses requests of 4,000. */
export const MOST_ARGUMENTS = 3_500

/** Settlements with what joins them, as many a call as it has room for. */
export const joinCalls: Joining = (address, slot, settlements) =>
  joinChunks(settlements).map((chunk) => ({ chunk, call: joinScript(address, slot, chunk) }))

function joinChunks(settlements: readonly Settlement[]): Settlement[][] {
  const chunks: Settlement[][] = []
  let args = Infinity
  for (const settlement of settlements) {
    const own = joinArguments(commandsOf(settlement))
    if (args + own > MOST_ARGUMENTS || chunks.at(-1)?.length === SCRIPT_ENTRIES) {
      chunks.push([])
      args = 0
    }
    chunks.at(-1)?.push(settlement)
    args += own
  }
  return chunks
}

/** Arguments that an entry's commands take of a call. */
export function joinArguments(commands: readonly JoinedCommand[]): number {
  return commands.reduce((sum, command) => sum + command.length + 3, 3)
}

function joinScript({ stream, group, keys }: GroupAddress, slot: Slot, chunk: readonly Settlement[]): Call {
  const touched = [stream, keys.slot(slot.consumerName), keys.due]
  const args: Argument[] = [group, slot.consumerName, slot.token]
  const placeOf = (key: string) => {
    const known = touched.indexOf(key, 3)
    return known >= 0 ? known + 1 : touched.push(key)
  }
  for (const settlement of chunk) {
    const commands = commandsOf(settlement)
    args.push(settlement.id, settlement.deliveryCount, commands.length)
    for (const [name, key, ...rest] of commands)
      args.push(name, placeOf(String(key)), JOINABLE[name.toLowerCase()] ?? '', rest.length, ...rest)
  }
  return { script: join, keys: touched, args }
}

function commandsOf({ outcome }: Settlement): readonly JoinedCommand[] {
  return outcome.kind === 'ack-with' ? outcome.commands : []
}
