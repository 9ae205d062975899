#!/usr/bin/env node
import { quoted } from '../core/quoted.ts'
import { UsageError } from './usage-error.ts'

const USAGE = `millrace COMMAND [options]

  dev     runs a packaged service's functions on this machine, as Lambda would
  status  shows streams and their groups: lag, pending entries, consumers, dead letters
  tail    follows a stream without touching any group
  doctor  says what is wrong with a consumer and its server, and what mends it
  plan    works out what a consumer does and costs
  dlq     lists, shows, redrives and drops dead letters

millrace COMMAND --help tells more.`

/** What a shell takes for wrong usage. */
const EXIT_USAGE = 2

interface Command {
  /** Resolves when it is over, or soon after the signal. */
  run(args: readonly string[], signal: AbortSignal): Promise<void>
}

const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  dev: () => import('./dev.ts'),
  status: () => import('./status.ts'),
  tail: () => import('./tail.ts'),
  doctor: () => import('./doctor.ts'),
  plan: () => import('./plan.ts'),
  dlq: () => import('./dlq.ts'),
}

const interrupt = new AbortController()
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => interrupt.abort())
// who reads the output may end first, as in `millrace tail | head`
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  interrupt.abort()
})

try {
  await main(process.argv.slice(2))
} catch (error) {
  console.error((error as Error).message)
  process.exitCode = error instanceof UsageError ? EXIT_USAGE : 1
}

/** @throws {UsageError} No such command, or its options are wrong. */
async function main([name, ...args]: readonly string[]): Promise<void> {
  if (name === '--help' || name === '-h' || name === 'help') return console.log(USAGE)
  const load = Object.hasOwn(COMMANDS, name ?? '') ? COMMANDS[name as string] : undefined
  if (load === undefined)
    throw new UsageError(name === undefined ? USAGE : `millrace: no command ${quoted(name)}\n\n${USAGE}`)
  await (await load()).run(args, interrupt.signal)
}
