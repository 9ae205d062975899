import { Redis } from 'ioredis'
import { Redis as Redis5 } from 'ioredis5'
import type { Connection } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Account, EVENTS, pause } from '../support/account.ts'
import { NAME, password, sentinelPassword, startSentinels, type Watched } from '../support/sentinels.ts'

let watched: Watched
beforeAll(async () => {
  watched = await startSentinels()
}, 40_000)
afterAll(() => watched.stop())

const options = () => ({
  sentinels: [...watched.places],
  name: NAME,
  password,
  sentinelPassword,
  failoverDetector: true,
  connectTimeout: 1_000,
  socketTimeout: 2_000,
  maxRetriesPerRequest: 1,
})

const url = () =>
  `redis+sentinel://:${password}@${watched.places.map(({ port }) => `127.0.0.1:${port}`).join()}?name=${NAME}`

const CLIENTS: Readonly<Record<string, () => Connection>> = {
  'a URL': () => connectIoredis(url(), { sentinelPassword }),
  'ioredis 6': () => connectIoredis(() => new Redis(options())),
  'ioredis 5': () => connectIoredis(() => new Redis5(options()) as never),
}

/** How a primary goes, and how it comes back. */
const FAULTS: Readonly<Record<string, () => Promise<unknown>>> = {
  'a failover that is asked for': () => watched.failOver(),
  'a primary that is killed': async () => {
    const killed = await watched.fails((server) => server.kill('SIGKILL'))
    await killed.restart()
  },
  'a primary that hangs': async () => {
    const hung = await watched.fails((server) => server.kill('SIGSTOP'))
    hung.kill('SIGCONT')
  },
}

test.each(Object.entries(FAULTS))(
  '%s, as sentinels see it: what was replicated is not lost, nothing is doubled',
  async (name, strike) => {
    const told = Object.entries(CLIENTS).map(([client, connect], n) => {
      const redis = connect()
      return { client, redis, account: new Account(redis, `${name}-${n}`) }
    })
    const invocations = told.map(({ account }) => account.invokeEachSecond(9))
    await pause(1_700)
    await strike()
    await Promise.all(invocations)
    await watched.whole()
    for (const { client, redis, account } of told) {
      await account.settle()
      console.log(`${name}, ${client}: ${JSON.stringify(account.numbers)}`, account.failures.slice(0, 2))
      await redis.close()
    }
    // what one invocation heard from a primary that was none any more
    for (const { account } of told) expect(account.numbers).toMatchObject({ twice: 0 })
    for (const { account } of told) expect(account.numbers.lost).toBeLessThanOrEqual(EVENTS)
  },
  60_000,
)
