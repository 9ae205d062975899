import type { Connection } from 'millrace'
import { connect } from 'millrace/connect'
import { connectMemory } from 'millrace/testing'
import { onTestFinished } from 'vitest'
import { startRestServer } from './rest-server.ts'
import { startScenario } from './scenario.ts'

/** Kinds of connections, each with a server of its own that ends with the test. */
export const PLACES: readonly (readonly [string, () => Promise<Connection>])[] = [
  ['TCP', async () => (await startScenario()).redis],
  ['REST', overRest],
  ['memory', async () => connectMemory()],
]

async function overRest(): Promise<Connection> {
  const { server } = await startScenario()
  const rest = await startRestServer({ redisUrl: server.url, token: 'secret' })
  const redis = connect(rest.url.replace('://', '://:secret@'))
  onTestFinished(async () => {
    await redis.close()
    await rest.close()
  })
  return redis
}
