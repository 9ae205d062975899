import type { LuaScript } from '../scripts/script.ts'

/** A part of a script, and what stands in its place. */
export type ScriptEdit = readonly [part: string, inItsPlace: string]

/**
 * A script with parts of it replaced: what only ordered groups need stays out of the scripts that all others are deployed with.
 *
 * @throws {Error} A part is not there exactly once.
 */
export function editedScript({ lua }: LuaScript, edits: readonly ScriptEdit[]): LuaScript {
  let text = lua
  for (const [part, other] of edits) {
    const parts = text.split(part)
    if (parts.length !== 2) throw new Error(`The script must have the part once, got ${parts.length - 1}: ${part}`)
    text = parts.join(other)
  }
  return { keyCount: undefined, lua: text }
}
