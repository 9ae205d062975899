import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Report } from 'millrace'
import type { Command, Outcome } from '../examples/outbox/api.ts'
import type { Equation } from './equation.ts'
import { auditOutbox, type OutboxAudit } from './outbox/audit.ts'
import { createRandom, type Random } from './random.ts'
import { lambdaContext, startSchedule } from './schedule.ts'
import type { SystemDemo } from './system-demo.ts'

const FOLDER = join(import.meta.dirname, '../examples/outbox')
const ORDERS = 40
const AT_ONCE = 8
const TICK_MS = 20
/** After which what is not published, or not counted, is missing. */
const PATIENCE_MS = 20_000

/** Orders that are placed, paid and cancelled in an embedded Postgres, rows that are no JSON among them, and two relays. */
export const demo: SystemDemo = {
  async run({ url, seconds, seed, signal, ...stage }) {
    process.env.DATABASE_URL = 'pglite:'
    const { database } = await import('../examples/outbox/database.ts')
    const { execute } = await import('../examples/outbox/api.ts')
    const { handler: relay } = await import('../examples/outbox/relay.ts')
    const { handler: poller } = await import('../examples/outbox/poller.ts')
    const { handler: claimer } = await import('../examples/outbox/claimer.ts')
    const { redis } = await import('../examples/outbox/redis.ts')
    const raw = new Redis(url)
    for (const name of ['001-orders.sql', '002-outbox.sql'])
      await database.script(readFileSync(join(FOLDER, name), 'utf8'))
    const random = createRandom(seed)
    const outcomes = new Map<Outcome, number>()
    const failures: Error[] = []
    const onEnd = (result: Report | Error) => void (result instanceof Error && failures.push(result))
    const schedule = startSchedule([
      { functionName: 'poller', everyMs: 200, handler: poller, onEnd },
      { functionName: 'claimer', everyMs: 1_000, handler: claimer, onEnd },
    ])
    const relaying = new AbortController()
    const relays = ['relay-1', 'relay-2'].map(async (name) => {
      for (; !relaying.signal.aborted; await sleep(100)) await relay({}, lambdaContext(name))
    })
    const isCounted = ({ table, totals }: OutboxAudit) =>
      table.waiting === 0 && totals.placed + totals.paid + totals.cancelled === table.published
    try {
      const end = performance.now() + seconds * 1_000
      for (;;) {
        signal.throwIfAborted()
        if (failures[0]) throw failures[0]
        const audit = await auditOutbox(database, raw)
        stage.show(linesOf(audit, outcomes))
        const isOver = performance.now() >= end
        if (isOver && (isCounted(audit) || performance.now() > end + PATIENCE_MS)) break
        if (!isOver) {
          const commands = Array.from({ length: AT_ONCE }, () => draw(random))
          for (const outcome of await Promise.all(commands.map((command) => execute(database, command))))
            outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
          if (random.integer(0, 10) === 0 || !outcomes.has('not open')) await addPoison(database)
        }
        await sleep(TICK_MS)
      }
      return equationsOf(await auditOutbox(database, raw))
    } finally {
      relaying.abort()
      await Promise.all(relays)
      await schedule.stop()
      raw.disconnect()
      await Promise.all([redis.close(), database.close()])
    }
  },
}

function draw(random: Random): Command {
  const orderId = `o-${random.integer(0, ORDERS)}-${Math.floor(performance.now() / 1_000)}`
  const kind = random.integer(0, 4)
  if (kind < 2) return { type: 'place', orderId, cents: random.integer(1, 10_000) }
  return kind === 2 ? { type: 'pay', orderId } : { type: 'cancel', orderId }
}

/** What a program that writes rows of its own may get wrong. */
async function addPoison(database: { script(text: string): Promise<unknown> }): Promise<void> {
  await database.script(`insert into outbox (event_type, aggregate_type, aggregate_id, payload)
    values ('OrderPaid', 'import', gen_random_uuid()::text, 'no JSON')`)
}

function equationsOf({ table, totals, entries, orders, wrong }: OutboxAudit): Equation[] {
  return [
    {
      left: [['rows', table.rows]],
      right: [
        ['published', table.published],
        ['set aside', table.setAside],
      ],
    },
    { left: [['entries of the stream', entries]], right: [['rows published', table.published]] },
    { left: [['aggregates whose events are not once and in order', wrong.length]], right: [['', 0]] },
    { left: [['orders placed', orders.placed]], right: [['counted by the consumer', totals.placed]] },
    { left: [['orders paid', orders.paid]], right: [['counted', totals.paid]] },
    { left: [['orders cancelled', orders.cancelled]], right: [['counted', totals.cancelled]] },
    { left: [['cents paid', orders.cents]], right: [['counted', totals.cents]] },
  ]
}

function linesOf({ table, entries, totals }: OutboxAudit, outcomes: ReadonlyMap<Outcome, number>): string[] {
  const counts = { ...table, entries, 'paid, counted': totals.paid }
  return [
    '',
    ...Object.entries(counts).map(([name, count]) => `  ${name.padEnd(14)} ${String(count).padStart(8)}`),
    '',
    `  ${[...outcomes].map(([outcome, count]) => `${outcome} ${count}`).join(', ')}`,
  ]
}
