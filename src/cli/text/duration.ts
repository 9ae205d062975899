import { MS_PER_UNIT } from '../../core/words.ts'
import { quotedValue } from '../../errors.ts'
import { UsageError } from '../usage-error.ts'

/**
 * Milliseconds of `90s`, `30m`, `2h`, `1d`, `1.5w`.
 *
 * @throws {UsageError} Something else.
 */
export function parseDurationOption(command: string, option: string, text: string): number {
  const [, digits, unit = ''] = /^(\d+(?:\.\d+)?)([smhdw])$/.exec(text) ?? []
  if (digits !== undefined) return Number(digits) * MS_PER_UNIT[unit as keyof typeof MS_PER_UNIT]
  throw new UsageError(
    `millrace ${command}: ${option} must be a number with one of s, m, h, d, w after it, as in 2h, got ${quotedValue(text)}`,
  )
}
