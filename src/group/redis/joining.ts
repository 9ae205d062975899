import { COMMANDS_JOINABLE_TO_ACK } from '../../core/joinable.ts'
import type { Marker } from '../../core/markers.ts'
import type { JoinedCommand } from '../../core/outcome.ts'
import type { GroupAddress, Settlement, SettleWithCommands, Slot } from '../group.ts'
import { acknowledgeWithCommandsScript } from './scripts/join.ts'
import { MAX_ENTRIES_PER_SCRIPT_CALL } from './scripts/script.ts'
import type { RedisCall } from './sender.ts'
import type { CommandArgument } from './transport.ts'

/** Arguments that one call of the script takes at most: a service refuses requests of 4,000. */
export const MAX_JOIN_ARGUMENTS = 3_500

/** Settlements with what joins them, as many a call as it has room for. */
export const joinScriptCalls: SettleWithCommands = (address, slot, settlements) =>
  joinChunks(duplicatesLast(settlements)).map((chunk) => ({ chunk, call: joinScript(address, slot, chunk) }))

/** A duplicate finds the marker that is written with it. */
function duplicatesLast(settlements: readonly Settlement[]): readonly Settlement[] {
  const isDuplicate = ({ outcome }: Settlement) => Number(outcome.kind === 'duplicate')
  return settlements.toSorted((a, b) => isDuplicate(a) - isDuplicate(b))
}

function joinChunks(settlements: readonly Settlement[]): Settlement[][] {
  const chunks: Settlement[][] = []
  let args = Infinity
  for (const settlement of settlements) {
    const own = countJoinArguments(commandsOf(settlement))
    if (args + own > MAX_JOIN_ARGUMENTS || chunks.at(-1)?.length === MAX_ENTRIES_PER_SCRIPT_CALL) {
      chunks.push([])
      args = 0
    }
    chunks.at(-1)?.push(settlement)
    args += own
  }
  return chunks
}

/** Arguments that an entry's commands take of a call. */
export function countJoinArguments(commands: readonly JoinedCommand[]): number {
  return commands.reduce((sum, command) => sum + command.length + 3, 7)
}

function joinScript({ stream, group, keys }: GroupAddress, slot: Slot, chunk: readonly Settlement[]): RedisCall {
  const touched = [stream, keys.slot(slot.consumerName), keys.due]
  const args: CommandArgument[] = [group, slot.consumerName, slot.token]
  const placeOf = (key: string) => {
    const known = touched.indexOf(key, 3)
    return known >= 0 ? known + 1 : touched.push(key)
  }
  for (const settlement of chunk) {
    const { id, deliveryCount, outcome } = settlement
    const commands = commandsOf(settlement)
    const marker = markerOf(settlement)
    const op = outcome.kind === 'duplicate' ? 'duplicate' : 'ack'
    args.push(op, id, deliveryCount, marker ? placeOf(marker.key) : 0, marker?.ttlMs ?? 0, commands.length)
    for (const [name, key, ...rest] of commands)
      args.push(name, placeOf(String(key)), COMMANDS_JOINABLE_TO_ACK[name.toLowerCase()] ?? '', rest.length, ...rest)
  }
  return { script: acknowledgeWithCommandsScript, keys: touched, args }
}

function markerOf({ outcome }: Settlement): Marker | undefined {
  return outcome.kind === 'ack-with' || outcome.kind === 'duplicate' ? outcome.marker : undefined
}

function commandsOf({ outcome }: Settlement): readonly JoinedCommand[] {
  return outcome.kind === 'ack-with' ? outcome.commands : []
}
