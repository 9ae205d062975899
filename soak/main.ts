import { accountFor } from './account.ts'
import type { SoakOptions } from './options.ts'
import { readOptions, USAGE } from './options.ts'
import { soakOutage } from './outage.ts'
import { soak } from './soak.ts'
import { breachLines, orderLines, tableOf } from './table.ts'

/** What a shell reports for a program that Ctrl-C ended. */
const EXIT_INTERRUPTED = 130

const interrupt = new AbortController()
// npm hands a Ctrl-C on to a program that has had it from the terminal already, so a second one changes nothing
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => interrupt.abort())

try {
  const options = readOptions(process.argv.slice(2))
  if (options.help) console.log(USAGE)
  else if (!(await (options.outageMs ? runOutage(options.outageMs) : runSoak(options)))) process.exitCode = 1
} catch (error) {
  // a Ctrl-C reaches the server, too: what fails from then on means nothing
  const { aborted } = interrupt.signal
  console.error(aborted ? 'Stopped before it was done' : (error as Error).message)
  process.exitCode = aborted ? EXIT_INTERRUPTED : 1
}

/** Resolves to whether the outage cost nothing that it must not. */
async function runOutage(outageMs: number): Promise<boolean> {
  const { breaches, ...account } = await soakOutage(outageMs)
  for (const [name, value] of Object.entries(account)) console.log(`${name.padEnd(16)} ${value}`)
  for (const breach of breaches) console.log(breach)
  return breaches.length === 0
}

/** Resolves to whether every promise was kept. */
async function runSoak({ seconds, seed, notes, janitor, ordered }: SoakOptions): Promise<boolean> {
  const {
    evidence,
    faults,
    ordered: inOrder,
  } = await soak({
    seconds,
    seed,
    notes,
    janitor,
    ordered,
    signal: interrupt.signal,
    print: console.log,
  })
  const { breaches, ...counts } = accountFor(evidence)
  const account = { ...counts, breaches: [...breaches, ...(inOrder?.breaches ?? [])] }
  for (const line of [...tableOf(account, faults), ...orderLines(inOrder), ...breachLines(account)]) console.log(line)
  const isKept = account.breaches.length === 0
  console.log(`\n${isKept ? 'Every promise was kept' : 'Promises were broken'}`)
  console.log(
    `Again: npm run soak -- --seconds ${seconds} --seed ${seed}${janitor ? ' --janitor' : ''}${ordered ? ' --ordered' : ''}`,
  )
  return isKept
}
