import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { createPublisher } from 'millrace'
import { expect, onTestFinished, test, vi } from 'vitest'
import { createRandom } from '../../demo/random.ts'
import { type Command, drawCommand } from '../../demo/users/draw-command.ts'
import { foldEvents } from '../../demo/users/fold-events.ts'
import type { User } from '../../examples/users/events.ts'
import { type RunningSystem, startSystem } from './kit/start-system.ts'

const COMMANDS = '{users}:commands'
const EVENTS = '{users}:events'
const DECIDING = { stream: COMMANDS, group: 'deciding' }
const DIRECTORY = { stream: EVENTS, group: 'directory' }
const FIRST = { stream: EVENTS, group: 'profiles-v1' }
const SECOND = { stream: EVENTS, group: 'profiles-v2' }

const isWhole = process.env.MILLRACE_SYSTEMS === 'whole'
const EVENTS_MEANT = isWhole ? 1_000_000 : 20_000
const PEOPLE = isWhole ? 20_000 : 2_000
const TEST_MS = isWhole ? 3_600_000 : 240_000
const CHUNK = 500
/** Commands that are sent before their forerunners have an outcome. */
const MOST_AHEAD = 5_000
/** Commands of a chunk that come a second time, ten chunks later. */
const AGAIN = 5
const READS_AT_ONCE = 10
const READS_EVERY_MS = 10

type ReadProfile = (userId: string) => Promise<User | undefined>

test('users: outcomes, reads and projections are what the events say, whatever is killed or lost', {
  timeout: TEST_MS,
}, async () => {
  const environment = { PROFILES: 'v1' }
  const groups = [DECIDING, DIRECTORY, FIRST]
  const system = await startSystem(['examples/users/poller.ts', 'examples/users/claimer.ts'], groups, { environment })
  const { raw } = system
  const { readProfile, switchTo } = await loadReader(system.server.url)
  const random = createRandom(1)
  const commands: Command[] = []
  const publishUntil = publisherOf(system, commands)

  await system.start()
  await publishUntil(1)
  const reader = readAllTheTime(commands, readProfile)
  const firstHalf = publishUntil(EVENTS_MEANT / 2)
  await system.killTimes(3, random)
  await firstHalf
  // a group that is lost has what lies above its mark handled again
  for (const { stream, group } of [DECIDING, DIRECTORY]) await raw.xgroup('DESTROY', stream, group)
  await system.kill()

  environment.PROFILES = 'v1,v2'
  groups.push(SECOND)
  await system.start()
  const switched = switchTo({ to: SECOND.group, timeoutMs: TEST_MS })
  const secondHalf = publishUntil(EVENTS_MEANT)
  await system.killTimes(3, random)
  await secondHalf
  await system.killTimes(1, random)
  await switched
  await system.drained()
  const { reads, seen, backwards } = await reader.stop()

  const states = new Map<string, User>()
  const fold = await foldEvents(raw, (user) => {
    if (seen.has(nameOf(user))) states.set(nameOf(user), user)
  })
  expect({ faults: fold.faults, backwards }).toEqual({ faults: [], backwards: [] })
  expect(seen).toEqual(states)
  expect(await wrongOutcomes(raw, commands, fold.versionOf)).toEqual([])
  expect(await raw.get('{users}:profiles')).toBe(SECOND.group)
  expect(await wrongProfiles(readProfile, [...fold.users.values()])).toEqual([])
  const addresses = [...fold.users.values()].map(({ email }) => email)
  expect(new Set(await raw.hkeys('{users}:addresses'))).toEqual(new Set(addresses))
  expect(await countsOf(raw)).toEqual(fold.domains)
  expect(await system.deadLetters(DECIDING)).toEqual([])
  expect(fold.events).toBeGreaterThanOrEqual(EVENTS_MEANT)
  console.log(`${commands.length} commands, ${fold.events} events, ${fold.users.size} users, ${reads} reads`)
})

/** The modules read the environment. */
async function loadReader(url: string) {
  vi.stubEnv('REDIS_URL', url)
  const { client, redis } = await import('../../examples/users/redis.ts')
  const { readProfile } = await import('../../examples/users/projections.ts')
  const { handler: switchTo } = await import('../../examples/users/switch.ts')
  onTestFinished(async () => {
    vi.unstubAllEnvs()
    client.disconnect()
    await redis.close()
  })
  return { readProfile, switchTo }
}

/** Publishes commands until there are so many events. */
function publisherOf({ raw, redis }: RunningSystem, commands: Command[]) {
  const random = createRandom(2)
  const publisher = createPublisher({ stream: COMMANDS, redis, maxLength: Number.POSITIVE_INFINITY })
  return async function publishUntil(events: number): Promise<void> {
    while ((await raw.xlen(EVENTS)) < events) {
      const again = commands.slice(-10 * CHUNK).slice(0, AGAIN)
      for (let n = 0; n < CHUNK; n++) commands.push(drawCommand(random, commands.length, PEOPLE))
      await publisher.publishMany([...again, ...commands.slice(-CHUNK)].map(({ publication }) => publication))
      const early = commands.at(-MOST_AHEAD)?.commandId
      while (early !== undefined && (await raw.exists(`{users}:outcome:${early}`)) === 0) await sleep(10)
    }
  }
}

/** Reads profiles of users that commands were for, and keeps what it saw. */
function readAllTheTime(commands: readonly Command[], readProfile: ReadProfile) {
  const random = createRandom(3)
  const latest = new Map<string, number>()
  const seen = new Map<string, User>()
  const backwards: string[] = []
  let isOver = false
  let reads = 0
  async function read(): Promise<void> {
    reads++
    const { userId } = commands.at(-1 - random.integer(0, Math.min(commands.length, 4 * PEOPLE))) as Command
    const user = await readProfile(userId)
    const before = latest.get(userId) ?? 0
    if ((user?.version ?? 0) < before) backwards.push(`${userId} was at ${before}, is at ${user?.version}`)
    if (!user) return
    latest.set(userId, user.version)
    seen.set(nameOf(user), user)
  }
  async function run(): Promise<void> {
    while (!isOver) {
      await Promise.all(Array.from({ length: READS_AT_ONCE }, read))
      // the cores are for the system
      await sleep(READS_EVERY_MS)
    }
  }
  const running = run()
  return {
    async stop() {
      isOver = true
      await running
      return { reads, seen, backwards }
    },
  }
}

const nameOf = ({ userId, version }: User) => `${userId} ${version}`

/** Whoever has the address already is done, and has made no event. */
async function wrongOutcomes(
  raw: Redis,
  commands: readonly Command[],
  versionOf: ReadonlyMap<string, number>,
): Promise<unknown[]> {
  const wrong: unknown[] = []
  for (let n = 0; n < commands.length; n += CHUNK) {
    const some = commands.slice(n, n + CHUNK)
    const texts = await raw.mget(some.map(({ commandId }) => `{users}:outcome:${commandId}`))
    for (const [m, { commandId }] of some.entries()) {
      const { state, version } = JSON.parse(texts[m] ?? '{}')
      const made = versionOf.get(commandId)
      const isRight = made === undefined ? ['refused', 'done'].includes(state) : state === 'done' && version === made
      if (!isRight) wrong.push({ commandId, outcome: texts[m], made })
    }
  }
  return wrong
}

async function wrongProfiles(readProfile: ReadProfile, users: readonly User[]): Promise<unknown[]> {
  const wrong: unknown[] = []
  for (let n = 0; n < users.length; n += CHUNK) {
    const some = users.slice(n, n + CHUNK)
    const profiles = await Promise.all(some.map(({ userId }) => readProfile(userId)))
    for (const [m, user] of some.entries())
      if (JSON.stringify(profiles[m]) !== JSON.stringify(user)) wrong.push({ user, profile: profiles[m] })
  }
  return wrong
}

async function countsOf(raw: Redis): Promise<ReadonlyMap<string, number>> {
  const counts = Object.entries(await raw.hgetall('{users}:directory')).map(
    ([domain, n]) => [domain, Number(n)] as const,
  )
  return new Map(counts.filter(([, n]) => n !== 0))
}
