import { setTimeout as sleep } from 'node:timers/promises'
import { createPublisher } from 'millrace'
import { expect, test } from 'vitest'
import { createRandom } from '../../demo/random.ts'
import { type Command, drawCommand } from '../../demo/users/draw-command.ts'
import { foldEvents } from '../../demo/users/fold-events.ts'
import type { User } from '../../examples/users/events.ts'
import { startSystem } from './kit/start-system.ts'

const COMMANDS = '{users}:commands'
const EVENTS = '{users}:events'
const [DECIDING, DIRECTORY, FIRST, SECOND] = [
  { stream: COMMANDS, group: 'deciding' },
  { stream: EVENTS, group: 'directory' },
  { stream: EVENTS, group: 'profiles-v1' },
  { stream: EVENTS, group: 'profiles-v2' },
]
const isWhole = process.env.MILLRACE_SYSTEMS === 'whole'
/** Some are refused: that is events and a few more. */
const EVENTS_MEANT = isWhole ? 1_000_000 : 20_000
const PEOPLE = isWhole ? 20_000 : 2_000
const CHUNK = 500
/** Commands ahead of who decides. */
const MOST_AHEAD = 5_000

test('users: every command has one outcome, every read is of a state that was, and projections are what the events say, whatever is killed', {
  timeout: isWhole ? 3_600_000 : 240_000,
}, async () => {
  const environment = { PROFILES: 'v1' }
  const groups = [DECIDING, DIRECTORY, FIRST]
  const system = await startSystem(['examples/users/poller.ts', 'examples/users/claimer.ts'], groups, { environment })
  const { raw } = system
  process.env.REDIS_URL = system.server.url
  const { client, redis } = await import('../../examples/users/redis.ts')
  const { readProfile } = await import('../../examples/users/projections.ts')
  const { handler: switchTo } = await import('../../examples/users/switch.ts')
  const random = createRandom(1)
  const commands: Command[] = []
  const publisher = createPublisher({ stream: COMMANDS, redis: system.redis, maxLength: Number.POSITIVE_INFINITY })

  /** Publishes until there are so many events; each hundredth command comes again later. */
  async function publishUntil(events: number): Promise<void> {
    while ((await raw.xlen(EVENTS)) < events) {
      const drawn = Array.from({ length: CHUNK }, (_, n) => drawCommand(random, commands.length + n, PEOPLE))
      const again = commands.filter((_, n) => n % 100 === 0).slice(-CHUNK / 100)
      commands.push(...drawn)
      await publisher.publishMany([...drawn, ...again].map(({ publication }) => publication))
      while (commands.length - (await raw.xlen(EVENTS)) * 1.6 > MOST_AHEAD) await sleep(10)
    }
  }

  const seen = new Map<string, User>()
  const faults: string[] = []
  let isOver = false
  let reads = 0
  async function readForever(): Promise<void> {
    const latest = new Map<string, number>()
    while (!isOver) {
      const { userId } = commands.at(-1 - createRandom(reads).integer(0, 20_000)) ?? (commands[0] as Command)
      const user = await readProfile(userId)
      reads++
      const before = latest.get(userId) ?? 0
      if ((user?.version ?? 0) < before) faults.push(`${userId} was at ${before}, now ${user?.version}`)
      if (!user) continue
      latest.set(userId, user.version)
      seen.set(`${userId} ${user.version}`, user)
    }
  }

  await system.start()
  await publishUntil(1)
  const reading = readForever()
  const first = publishUntil(EVENTS_MEANT / 2)
  await system.killTimes(2, random)
  await first
  // a group that is lost handles again what lies above its mark
  for (const { stream, group } of [DECIDING, DIRECTORY]) await raw.xgroup('DESTROY', stream, group)

  await system.kill()
  environment.PROFILES = 'v1,v2'
  groups.push(SECOND)
  await system.start()
  const second = publishUntil(EVENTS_MEANT)
  await system.killTimes(2, random)
  const switched = switchTo({ to: SECOND.group, timeoutMs: isWhole ? 1_800_000 : 120_000 })
  await second
  await system.killTimes(1, random)
  await switched
  await system.drained()
  isOver = true
  await reading

  const unlike: string[] = []
  const fold = await foldEvents(raw, (user) => {
    const read = seen.get(`${user.userId} ${user.version}`)
    if (read && JSON.stringify(read) !== JSON.stringify(user)) unlike.push(`${user.userId} ${user.version}`)
    seen.delete(`${user.userId} ${user.version}`)
  })
  expect({ faults: fold.faults, backwards: faults, unlike, neverWas: [...seen.keys()] }).toEqual({
    faults: [],
    backwards: [],
    unlike: [],
    neverWas: [],
  })
  expect(fold.events).toBeGreaterThanOrEqual(EVENTS_MEANT)
  expect(reads).toBeGreaterThan(1_000)

  const strangers: unknown[] = []
  for (let n = 0; n < commands.length; n += CHUNK) {
    const some = commands.slice(n, n + CHUNK)
    const texts = await raw.mget(some.map(({ commandId }) => `{users}:outcome:${commandId}`))
    for (const [m, { commandId }] of some.entries()) {
      const { state, version } = JSON.parse(texts[m] ?? '{}')
      const made = fold.versionOf.get(commandId)
      // who has the address already changed nothing
      const isRight =
        made === undefined ? state === 'refused' || state === 'done' : state === 'done' && version === made
      if (!isRight) strangers.push([commandId, texts[m], made])
    }
  }
  expect(strangers).toEqual([])

  expect(await raw.get('{users}:profiles')).toBe(SECOND.group)
  const wrong: unknown[] = []
  const users = [...fold.users.values()]
  for (let n = 0; n < users.length; n += CHUNK)
    await Promise.all(
      users.slice(n, n + CHUNK).map(async (user) => {
        const profile = await readProfile(user.userId)
        if (JSON.stringify(profile) !== JSON.stringify(user)) wrong.push([profile, user])
      }),
    )
  expect(wrong).toEqual([])

  const addresses = await raw.hkeys('{users}:addresses')
  expect(addresses.toSorted()).toEqual(users.map(({ email }) => email).toSorted())
  const counts = Object.entries(await raw.hgetall('{users}:directory')).filter(([, count]) => count !== '0')
  expect(new Map(counts.map(([domain, count]) => [domain, Number(count)]))).toEqual(fold.domains)
  expect(await system.deadLetters(DECIDING)).toEqual([])
  console.log(`${commands.length} commands, ${fold.events} events, ${users.length} users, ${reads} reads`)
  client.disconnect()
  await redis.close()
})
