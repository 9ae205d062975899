import { readOptions, USAGE } from './options.ts'
import { runOrders } from './orders/run-orders.ts'
import { listOf, NAMES, runSystem } from './systems.ts'

/** What a shell reports for a program that Ctrl-C ended. */
const EXIT_INTERRUPTED = 130

const interrupt = new AbortController()
// npm hands a Ctrl-C on to a program that has had it from the terminal already, so a second one changes nothing
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupt.abort())

try {
  const options = readOptions(process.argv.slice(2), NAMES)
  if (options.help) console.log(USAGE)
  else if (options.list) for (const line of listOf()) console.log(line)
  else {
    const run = options.name === 'orders' ? runOrders : runSystem
    if (!(await run(options, interrupt.signal))) process.exitCode = 1
  }
} catch (error) {
  // a Ctrl-C reaches a server of our own, too: what fails from then on means nothing
  const { aborted } = interrupt.signal
  console.error(aborted ? 'Stopped before it was done' : (error as Error).message)
  process.exitCode = aborted ? EXIT_INTERRUPTED : 1
}
