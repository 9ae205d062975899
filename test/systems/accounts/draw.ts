import type { Random } from '../../../demo/random.ts'
import type { Command, Outcome } from '../../../examples/accounts/commands.ts'

const ACCOUNTS = ['a', 'b', 'c', 'd']
const FIRST_CENTS = 1_000

/** One of those it goes to is never opened: what is sent there comes back. */
export function drawCommand(random: Random, requestId: string): Command {
  const accountId = random.pick(ACCOUNTS)
  const cents = random.integer(1, 400)
  const kind = random.integer(0, 10)
  if (kind < 2) return { type: 'deposit', accountId, requestId, cents }
  if (kind < 4) return { type: 'withdraw', accountId, requestId, cents }
  return { type: 'transfer', accountId, requestId, to: random.pick([...ACCOUNTS, 'nobody']), cents }
}

export async function openAll(execute: (command: Command) => Promise<Outcome>): Promise<void> {
  for (const accountId of ACCOUNTS) {
    await execute({ type: 'open', accountId, requestId: 'open', owner: 'somebody' })
    await execute({ type: 'deposit', accountId, requestId: 'first', cents: FIRST_CENTS })
  }
}
