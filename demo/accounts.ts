import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Report } from 'millrace'
import type { Command, Outcome } from '../examples/accounts/commands.ts'
import { auditAccounts } from './accounts/audit.ts'
import type { Equation } from './equation.ts'
import { createRandom, type Random } from './random.ts'
import { startSchedule } from './schedule.ts'
import type { SystemDemo } from './system-demo.ts'

const ACCOUNTS = ['anna', 'bert', 'cora', 'dora', 'emil', 'fred']
const FIRST_CENTS = 100_000
const AT_ONCE = 8
const TICK_MS = 50
/** After which what is still on its way is missing in the account. */
const PATIENCE_MS = 20_000

/** Six accounts: deposits, withdrawals and transfers, many of them at once, some twice, some to nobody. */
export const demo: SystemDemo = {
  async run({ url, seconds, seed, signal, ...stage }) {
    const { execute } = await import('../examples/accounts/commands.ts')
    const { load } = await import('../examples/accounts/account.ts')
    const { handler: poller } = await import('../examples/accounts/poller.ts')
    const { handler: claimer } = await import('../examples/accounts/claimer.ts')
    const { client, redis } = await import('../examples/accounts/redis.ts')
    const raw = new Redis(url)
    const random = createRandom(seed)
    const outcomes = new Map<Outcome, number>()
    const done = { deadLettered: 0, failures: [] as Error[] }
    const onEnd = (result: Report | Error) => {
      if (result instanceof Error) done.failures.push(result)
      else done.deadLettered += result.deadLettered
    }
    for (const accountId of ACCOUNTS) {
      await execute({ type: 'open', accountId, requestId: 'open', owner: accountId })
      await execute({ type: 'deposit', accountId, requestId: 'first', cents: FIRST_CENTS })
    }
    const schedule = startSchedule([
      { functionName: 'poller', everyMs: 200, handler: poller, onEnd },
      { functionName: 'claimer', everyMs: 1_000, handler: claimer, onEnd },
    ])
    try {
      const end = performance.now() + seconds * 1_000
      for (let asked = 0; ; ) {
        signal.throwIfAborted()
        if (done.failures.length > 0) throw done.failures[0]
        const audit = await auditAccounts(raw)
        stage.show(linesOf(audit.balances, audit.onItsWay, outcomes))
        const isOver = performance.now() >= end
        if (isOver && (audit.onItsWay === 0 || performance.now() > end + PATIENCE_MS)) break
        if (!isOver) {
          const commands = Array.from({ length: AT_ONCE }, () => draw(random, `r-${asked++}`))
          const twice = commands.filter(() => random.integer(0, 4) === 0)
          for (const outcome of await Promise.all([...commands, ...twice].map(execute)))
            outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
        }
        await sleep(TICK_MS)
      }
      const audit = await auditAccounts(raw)
      const rebuilt = await Promise.all(ACCOUNTS.map(async (id) => [id, Number((await load(id)).cents)] as const))
      return [
        {
          left: [
            ['balances', rebuilt.reduce((sum, [, cents]) => sum + cents, 0)],
            ['on its way', audit.onItsWay],
          ],
          right: [['brought in', audit.brought]],
        },
        { left: [['accounts ever overdrawn', audit.overdrawn.length]], right: [['', 0]] },
        { left: [['transfers that ended otherwise than once', audit.uneven.length]], right: [['', 0]] },
        { left: [['dead letters', done.deadLettered]], right: [['', 0]] },
        ...rebuilt.map(
          ([id, cents]): Equation => ({ left: [[id, cents]], right: [['its events', audit.balances.get(id) ?? 0]] }),
        ),
      ]
    } finally {
      await schedule.stop()
      client.disconnect()
      raw.disconnect()
      await redis.close()
    }
  },
}

function draw(random: Random, requestId: string): Command {
  const accountId = random.pick(ACCOUNTS)
  const cents = random.integer(1, 40_000)
  const kind = random.integer(0, 10)
  if (kind < 2) return { type: 'deposit', accountId, requestId, cents }
  if (kind < 4) return { type: 'withdraw', accountId, requestId, cents }
  return { type: 'transfer', accountId, requestId, to: random.pick([...ACCOUNTS, 'nobody']), cents }
}

function linesOf(
  balances: ReadonlyMap<string, number>,
  onItsWay: number,
  outcomes: ReadonlyMap<Outcome, number>,
): string[] {
  const text = (cents: number) => (cents / 100).toFixed(2).padStart(12)
  return [
    '',
    ...[...balances].map(([id, cents]) => `  ${id.padEnd(10)} ${text(cents)}`),
    `  ${'on its way'.padEnd(10)} ${text(onItsWay)}`,
    '',
    `  ${[...outcomes].map(([outcome, count]) => `${outcome} ${count}`).join(', ')}`,
  ]
}
