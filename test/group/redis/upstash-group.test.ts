import { afterAll, beforeAll } from 'vitest'
import { connectUpstash } from '../../../src/clients/upstash.ts'
import { type PrivateRedis, startRedisServer } from '../../../tools/redis-server.ts'
import { type RestServer, startRestServer } from '../../support/rest-server.ts'
import { describeGroup } from '../group.contract.ts'
import { describeServer, openRedis } from './redis-outside.ts'

const token = 'the-token-of-this-test'

let server: PrivateRedis
let rest: RestServer

beforeAll(async () => {
  server = await startRedisServer()
  rest = await startRestServer({ redisUrl: server.url, token })
})
afterAll(async () => {
  await rest.close()
  await server.stop()
})

const open = () => openRedis(server.url, () => connectUpstash({ url: rest.url, token }))

describeGroup('the group on Upstash', open)
describeServer('on a server', open)
