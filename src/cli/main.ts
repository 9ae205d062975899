#!/usr/bin/env node
import { readFile } from 'node:fs/promises'
import { quotedValue } from '../errors.ts'
import { UsageError } from './usage-error.ts'

const USAGE = `millrace COMMAND [options]

  dev     runs a packaged service's functions on this machine, as Lambda would
  status  shows streams and their groups: lag, pending entries, consumers, dead letters
  analyze says what is in a stream: types, values, hours, rates, sizes, lags, ages
  tail    follows a stream without touching any group
  doctor  says what is wrong with a consumer and its server, and what fixes it
  plan    works out what a consumer does and costs
  try     tries a server against all that is needed of it
  dlq     lists, shows, redrives and drops dead letters
  pause   pauses a group, or an event type of it
  resume  resumes what was paused
  register  says who owns a stream's groups, what they promise and need

millrace COMMAND --help says more; millrace --version says which version this is.`

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
  analyze: () => import('./analyze.ts'),
  doctor: () => import('./doctor.ts'),
  plan: () => import('./plan.ts'),
  try: () => import('./try.ts'),
  dlq: () => import('./dlq.ts'),
  pause: () => import('./pause.ts'),
  resume: () => import('./resume.ts'),
  register: () => import('./register.ts'),
}

/** What does not end by then after a signal, such as a module that is still being loaded, is ended. */
const GRACE_MS = 10_000

const interrupt = new AbortController()
for (const [signal, number] of [
  ['SIGHUP', 1],
  ['SIGINT', 2],
  ['SIGTERM', 15],
] as const)
  process.on(signal, () => {
    const end = () => process.exit(128 + number)
    if (interrupt.signal.aborted) end()
    interrupt.abort()
    setTimeout(end, GRACE_MS).unref()
  })
// who reads the output may end first, as in `millrace tail | head`
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  interrupt.abort()
})

const [name, ...args] = process.argv.slice(2)
try {
  await main(name, args)
} catch (error) {
  const { message = String(error) } = (error ?? {}) as Partial<Error>
  console.error(message.startsWith('millrace') ? message : `millrace ${name}: ${message}`)
  process.exitCode = error instanceof UsageError ? EXIT_USAGE : 1
}
// what a consumer's module has opened, such as a connection of its own, would keep the program from ending
process.stdout.write('', () => process.exit())

/** The package's. */
async function readVersion(): Promise<string> {
  const text = await readFile(new URL('../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(text) as { readonly version: string }).version
}

/** @throws {UsageError} No such command, or its options are wrong. */
async function main(name: string | undefined, args: readonly string[]): Promise<void> {
  if (name === '--help' || name === '-h' || name === 'help') return console.log(USAGE)
  if (name === '--version' || name === '-v') return console.log(await readVersion())
  const load = Object.hasOwn(COMMANDS, name ?? '') ? COMMANDS[name as string] : undefined
  if (load === undefined)
    throw new UsageError(name === undefined ? USAGE : `millrace: no command ${quotedValue(name)}\n\n${USAGE}`)
  await (await load()).run(args, interrupt.signal)
}
