import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import type { Report, ScheduledHandler } from 'millrace'
import type { User } from '../examples/users/events.ts'
import type { Outcome } from '../examples/users/outcomes.ts'
import type { Equation } from './equation.ts'
import { createRandom } from './random.ts'
import { lambdaContext } from './schedule.ts'
import type { DemoStage, SystemDemo } from './system-demo.ts'
import { type Command, drawCommand } from './users/draw-command.ts'
import { foldEvents } from './users/fold-events.ts'

const PEOPLE = 200
const COMMANDS_PER_TICK = 5
const TICK_MS = 20
const READS_PER_TICK = 20
const SHOW_EVERY_MS = 250
/** A handler's time, the reserve, and two seconds to listen. */
const INVOCATION_MS = 13_000
const PATIENCE_MS = 20_000
const NEXT = 'profiles-v2'

/** Commands of many people, several for one address at once, while profiles are made anew from the first event and switched over, and read all the time. */
export const demo: SystemDemo = {
  async run(stage) {
    process.env.PROFILES = 'v1,v2'
    const system = await load()
    const raw = new Redis(stage.url)
    const over = new AbortController()
    const functions = [system.poller, system.claimer].map((handler) => wakeUntil(over.signal, handler))
    try {
      return await play(stage, system, raw)
    } finally {
      over.abort()
      await Promise.allSettled(functions)
      raw.disconnect()
      system.client.disconnect()
      await system.redis.close()
    }
  },
}

type System = Awaited<ReturnType<typeof load>>

async function load() {
  const { redis, client } = await import('../examples/users/redis.ts')
  const { handler: poller } = await import('../examples/users/poller.ts')
  const { handler: claimer } = await import('../examples/users/claimer.ts')
  const { handler: switchTo } = await import('../examples/users/switch.ts')
  const { commands, awaitOutcome } = await import('../examples/users/outcomes.ts')
  const { readProfile, countActiveUsers } = await import('../examples/users/projections.ts')
  return { redis, client, poller, claimer, switchTo, commands, awaitOutcome, readProfile, countActiveUsers }
}

/** One invocation after the other. */
async function wakeUntil(over: AbortSignal, handler: ScheduledHandler<Report>): Promise<void> {
  while (!over.aborted) {
    const deadline = performance.now() + INVOCATION_MS
    const getRemainingTimeInMillis = () => Math.max(0, deadline - performance.now())
    await handler({ source: 'aws.scheduler' }, { ...lambdaContext('users'), getRemainingTimeInMillis })
    await sleep(TICK_MS)
  }
}

async function play(stage: DemoStage, system: System, raw: Redis): Promise<readonly Equation[]> {
  const random = createRandom(stage.seed)
  const sent: Command[] = []
  const latest = new Map<string, User>()
  let reads = 0
  let readsBack = 0
  let shownAt = 0
  async function show(phase: string): Promise<void> {
    if (performance.now() < shownAt + SHOW_EVERY_MS) return
    shownAt = performance.now()
    const [events, at] = await Promise.all([raw.xlen('{users}:events'), raw.get('{users}:profiles')])
    stage.show([
      `${phase}: ${sent.length} commands, ${events} events, ${latest.size} users read`,
      `${reads} reads of ${at ?? 'profiles-v1'}, ${readsBack} of them went back in time`,
    ])
  }
  async function readSome(): Promise<void> {
    const ids = Array.from({ length: READS_PER_TICK }, () => random.pick(sent).userId)
    for (const user of await Promise.all(ids.map(system.readProfile))) {
      reads++
      if (!user) continue
      if (user.version < (latest.get(user.userId)?.version ?? 0)) readsBack++
      latest.set(user.userId, user)
    }
  }

  const endsAt = performance.now() + stage.seconds * 1_000
  let switching: Promise<void> | undefined
  while (performance.now() < endsAt) {
    const drawn = Array.from({ length: COMMANDS_PER_TICK }, (_, n) => drawCommand(random, sent.length + n, PEOPLE))
    sent.push(...drawn)
    await system.commands.publishMany(drawn.map(({ publication }) => publication))
    await readSome()
    if (performance.now() > endsAt - stage.seconds * 500) switching ??= system.switchTo({ to: NEXT, timeoutMs: 30_000 })
    await show('sending')
    await sleep(TICK_MS, undefined, { signal: stage.signal })
  }
  await switching
  const states = await Promise.all(sent.map(({ commandId }) => system.awaitOutcome(commandId, PATIENCE_MS)))
  const deadline = performance.now() + PATIENCE_MS
  while ((await countUndone(raw)) > 0 && performance.now() < deadline) {
    await show('catching up')
    await sleep(TICK_MS, undefined, { signal: stage.signal })
  }
  return equationsOf(states, readsBack, system, raw)
}

/** Events that a projection has not read, or not settled. */
async function countUndone(raw: Redis): Promise<number> {
  const groups = (await raw.xinfo('GROUPS', '{users}:events')) as unknown[][]
  const numberIn = (flat: unknown[], name: string) => Number(flat[flat.indexOf(name) + 1])
  return groups.reduce((sum, flat) => sum + numberIn(flat, 'pending') + numberIn(flat, 'lag'), 0)
}

async function equationsOf(
  outcomes: readonly Outcome[],
  readsBack: number,
  { readProfile, countActiveUsers }: System,
  raw: Redis,
): Promise<readonly Equation[]> {
  const { users, events, versionOf, faults, domains } = await foldEvents(raw)
  const count = (state: Outcome['state']) => outcomes.filter((outcome) => outcome.state === state).length
  const profiles = await Promise.all([...users.keys()].map(readProfile))
  const isRight = (profile?: User) => JSON.stringify(profile) === JSON.stringify(users.get(profile?.userId ?? ''))
  const counts = await Promise.all([...domains.keys()].map(countActiveUsers))
  const sum = (numbers: Iterable<number>) => [...numbers].reduce((total, each) => total + each, 0)
  return [
    {
      left: [['commands', outcomes.length]],
      right: [
        ['done', count('done')],
        ['refused', count('refused')],
      ],
    },
    { left: [['events', events]], right: [['commands that made one', versionOf.size]] },
    { left: [['versions or addresses twice', faults.length]], right: [['', 0]] },
    { left: [['addresses taken', await raw.hlen('{users}:addresses')]], right: [['users', users.size]] },
    {
      left: [['profiles of the new projection that are right', profiles.filter(isRight).length]],
      right: [['users', users.size]],
    },
    { left: [['active users by domain', sum(counts)]], right: [['active users', sum(domains.values())]] },
    { left: [['reads that went back in time', readsBack]], right: [['', 0]] },
  ]
}
