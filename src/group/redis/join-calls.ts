import { COMMANDS_JOINABLE_TO_ACK } from '../../core/joinable.ts'
import type { Marker } from '../../core/markers.ts'
import type { JoinedCommand } from '../../core/outcome.ts'
import type { GroupAddress, JoinCall, Settlement, Slot } from '../group.ts'
import type { LuaScript } from './scripts/script.ts'
import { MAX_ENTRIES_PER_SCRIPT_CALL } from './scripts/script.ts'
import type { CommandArgument } from './transport.ts'

/** Arguments that one call of a script takes at most: a service refuses requests of 4,000. */
export const MAX_JOIN_ARGUMENTS = 3_500

/** Bytes after which another call of a script begins. */
const MAX_JOIN_BYTES = 1_048_576

/** How a script that acknowledges with commands is called. */
export interface JoinScript {
  readonly script: LuaScript
  /** Which of some settlements must be settled together, one list each. Default: each by itself. */
  together?(settlements: readonly Settlement[]): readonly (readonly Settlement[])[]
  /** The commands of a settlement that no policy joined, and what they are sent as. Default: none. */
  further?(settlement: Settlement): readonly (readonly [kind: string, command: JoinedCommand])[]
}

/** Settlements with what joins them, as many a call as it has room for. */
export function joinCalls(
  how: JoinScript,
  address: GroupAddress,
  slot: Slot,
  settlements: readonly Settlement[],
): readonly JoinCall[] {
  const units = how.together?.(settlements) ?? settlements.map((settlement) => [settlement])
  return joinChunks(how, units).map(({ units, bytes }) => ({
    chunk: units.flat(),
    bytes,
    call: joinCall(how, address, slot, units),
  }))
}

type Unit = readonly Settlement[]

/** What one call settles. */
interface Chunk {
  readonly units: Unit[]
  args: number
  bytes: number
  entries: number
}

function joinChunks(how: JoinScript, units: readonly Unit[]): readonly Chunk[] {
  const chunks: Chunk[] = []
  for (const unit of units) {
    const commands = unit.map((settlement) => commandsOf(how, settlement).map(([, command]) => command))
    const args = commands.reduce((sum, each) => sum + countJoinArguments(each), unit.length > 1 ? 2 : 0)
    const bytes = commands.reduce((sum, each) => sum + countJoinBytes(each), 0)
    const last = chunks.at(-1)
    if (last && hasRoom(last, unit, args, bytes)) {
      last.units.push(unit)
      last.args += args
      last.bytes += bytes
      last.entries += unit.length
    } else chunks.push({ units: [unit], args, bytes, entries: unit.length })
  }
  return chunks
}

function hasRoom(chunk: Chunk, unit: Unit, args: number, bytes: number): boolean {
  if (chunk.args + args > MAX_JOIN_ARGUMENTS || chunk.bytes + bytes > MAX_JOIN_BYTES) return false
  return chunk.entries + unit.length <= MAX_ENTRIES_PER_SCRIPT_CALL
}

/** Arguments that an entry's commands take of a call. */
export function countJoinArguments(commands: readonly JoinedCommand[]): number {
  return commands.reduce((sum, command) => sum + command.length + 3, 7)
}

function countJoinBytes(commands: readonly JoinedCommand[]): number {
  return commands.flat().reduce<number>((sum, argument) => sum + Buffer.byteLength(String(argument)), 0)
}

function joinCall(
  how: JoinScript,
  { stream, group, keys }: GroupAddress,
  slot: Slot,
  units: readonly Unit[],
): JoinCall['call'] {
  const touched = [stream, keys.slot(slot.consumerName), keys.due]
  const args: CommandArgument[] = [group, slot.consumerName, slot.token]
  const placeOf = (key: string) => {
    const known = touched.indexOf(key, 3)
    return known >= 0 ? known + 1 : touched.push(key)
  }
  for (const unit of units) {
    if (unit.length > 1) args.push('all', unit.length)
    for (const settlement of unit) {
      const { id, deliveryCount, outcome } = settlement
      const commands = commandsOf(how, settlement)
      const marker = markerOf(settlement)
      const op = outcome.kind === 'duplicate' ? 'duplicate' : 'ack'
      args.push(op, id, deliveryCount, marker ? placeOf(marker.key) : 0, marker?.ttlMs ?? 0, commands.length)
      for (const [kind, [name, key, ...rest]] of commands)
        args.push(name, placeOf(String(key)), kind, rest.length, ...rest)
    }
  }
  return { script: how.script, keys: touched, args }
}

function markerOf({ outcome }: Settlement): Marker | undefined {
  return outcome.kind === 'ack-with' || outcome.kind === 'duplicate' ? outcome.marker : undefined
}

function commandsOf(how: JoinScript, settlement: Settlement): readonly (readonly [kind: string, JoinedCommand])[] {
  const { outcome } = settlement
  const joined = outcome.kind === 'ack-with' ? outcome.commands : []
  const ofPolicies = joined.map(
    (command) => [COMMANDS_JOINABLE_TO_ACK[command[0].toLowerCase()] ?? '', command] as const,
  )
  return [...ofPolicies, ...(how.further?.(settlement) ?? [])]
}
