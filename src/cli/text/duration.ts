import { UNIT_MS } from '../../core/words.ts'
import { quoted } from '../../errors.ts'
import { UsageError } from '../usage-error.ts'

/**
 * Milliseconds of `90s`, `30m`, `2h`, `1d`, `1.5w`.
 *
 * @throws {UsageError} Something else.
 */
export function readDuration(command: string, option: string, text: string): number {
  const [, digits, unit = ''] = /^(\d+(?:\.\d+)?)([smhdw])$/.exec(text) ?? []
  if (digits !== undefined) return Number(digits) * UNIT_MS[unit as keyof typeof UNIT_MS]
  throw new UsageError(
    `millrace ${command}: ${option} must be a number with one of s, m, h, d, w after it, as in 2h, got ${quoted(text)}`,
  )
}
