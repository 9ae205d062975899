import { type ParseArgsOptionsConfig, parseArgs } from 'node:util'
import { UsageError } from './usage-error.ts'

/** A command as messages name it, and the text that follows them. */
export interface CommandUsage {
  readonly name: string
  readonly usage: string
}

/**
 * Reads the options and the further words of a command line.
 *
 * @param takesWords Whether words that are no options may follow.
 * @throws {UsageError} An unknown option, one without its value, or a word too many.
 */
export function parseCommandLine<Options extends ParseArgsOptionsConfig>(
  { name, usage }: CommandUsage,
  args: readonly string[],
  options: Options,
  takesWords = true,
) {
  try {
    return parseArgs({ args: [...args], allowPositionals: takesWords, options })
  } catch (cause) {
    throw new UsageError(`millrace ${name}: ${(cause as Error).message}\n\n${usage}`, { cause })
  }
}
