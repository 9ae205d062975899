import { startRedisServer } from '../../../tools/redis-server.ts'
import { MemoryOrderServer } from './memory.ts'
import { RedisOrderServer, redisClients } from './redis.ts'
import { OrderWorld } from './world.ts'
const from = Number(process.argv[2]), to = Number(process.argv[3])
const onRedis = process.argv.includes('redis')
const server = onRedis ? await startRedisServer() : undefined
const clients = server && redisClients(server.url)
const found: [number, string][] = []
const t = performance.now()
let steps = 0
for (let seed = from; seed < to; seed++) {
  if (clients) await clients.raw.pipeline().config('SET', 'maxmemory', '0').flushall().exec()
  const world = new OrderWorld((network) => clients ? new RedisOrderServer(network, clients) : new MemoryOrderServer(network), seed, process.argv.includes('t'))
  try { await world.play() } catch (e) { world.violations.push(String((e as Error).stack)) }
  if (world.violations.length > 0) found.push([seed, world.violations[0] as string])
  if (to - from === 1) console.log(world.story.join('\n'), world.violations)
  steps += world.time.steps
}
const kinds = Map.groupBy(found, ([, text]) => text.split(/[: ]/).slice(0, 3).join(' ').replace(/\d+/g, 'N'))
console.log(`${found.length} of ${to - from}, ${((performance.now() - t) / (to - from)).toFixed(1)} ms each, ${steps / (to - from)} steps each`)
for (const [kind, ones] of kinds) console.log(ones.length, kind, '\n   ', ones.slice(0, 4).map(([s, x]) => `${s} ${x.slice(0, 300)}`).join('\n    '))
await clients?.close()
await server?.stop()
