import { quoted } from '../../errors.ts'
import { UsageError } from '../usage-error.ts'

const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 }

/**
 * Milliseconds of `90s`, `30m`, `2h`, `1d`, `1.5w`.
 *
 * @throws {UsageError} Something else.
 */
export function readDuration(command: string, option: string, text: string): number {
  const [, digits, unit = ''] = /^(\d+(?:\.\d+)?)([smhdw])$/.exec(text) ?? []
  if (digits !== undefined) return Number(digits) * (UNITS[unit] as number)
  throw new UsageError(
    `millrace ${command}: ${option} must be a number with one of s, m, h, d, w after it, as in 2h, got ${quoted(text)}`,
  )
}
