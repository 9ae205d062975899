import { styleText } from 'node:util'
import type { Account } from './account.ts'
import { countBy } from './account.ts'
import type { Fault } from './journal.ts'
import type { OrderedAccount } from './ordered.ts'

/** Examples that are shown of what is broken. */
const MAX_EXAMPLES = 20
const WIDTH = 44

/** What was published, what became of it, and what was done to it: lines without a line's end. */
export function tableOf(account: Account, faults: readonly Fault[]): string[] {
  const { duplicates, deadLetters } = account
  return [
    '',
    row('published', account.published),
    row('  of these, delayed', account.delayed),
    row('  of these, cancelled in time', account.cancelled),
    row('entries in the stream', account.entries),
    row('handled at least once', account.handled),
    row('retries after a failure', account.retries),
    ...group('duplicates', duplicates),
    ...group('dead letters', deadLetters),
    row('  of these, only faults were to blame for', account.unlucky),
    row('lost', account.lost),
    ...group('faults injected', countBy(faults.map(({ kind }) => kind))),
    row('invocations', account.invocations),
    row('  failed, the server or its connection away', account.failedInvocations),
  ]
}

/** What became of the group that keeps order; no line if there is none. */
export function orderLines(account: OrderedAccount | undefined): string[] {
  if (!account) return []
  return [
    row('in order: calls', account.calls),
    row('  of dead letters', account.letters),
    row('  processes that died', account.deaths),
  ]
}

/** What is broken: how often, and some examples; no line if nothing is. */
export function breachLines({ breaches }: Pick<Account, 'breaches'>): string[] {
  if (breaches.length === 0) return []
  const byRule = [...Map.groupBy(breaches, ({ rule }) => rule).values()]
  const share = Math.max(1, Math.floor(MAX_EXAMPLES / byRule.length))
  const examples = byRule
    .flatMap((some) => some.slice(0, share))
    .slice(0, MAX_EXAMPLES)
    .map(({ rule, detail }) => `  ${rule}: ${detail}`)
  return [
    '',
    ...[...countBy(breaches.map(({ rule }) => rule))].map(([rule, count]) => `Broken ${count} times: ${rule}`),
    ...examples,
  ]
}

function group(title: string, counts: ReadonlyMap<string, number>): string[] {
  const total = [...counts.values()].reduce((sum, count) => sum + count, 0)
  return [
    row(title, total),
    ...[...counts].map(([name, count]) => styleText('dim', row(`  ${name}`, count), { stream: process.stdout })),
  ]
}

const row = (name: string, count: number): string => `${name.padEnd(WIDTH)}${`${count}`.padStart(8)}`
