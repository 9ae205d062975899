import { startRedisServer } from '../tools/redis-server.ts'
import { sidesOf } from './figures.ts'
import { fallenFigures } from './floor.ts'
import { redisVersion } from './inspect.ts'
import { readOptions } from './main-options.ts'
import { runRounds } from './rounds.ts'
import { printSummary, summarize } from './summary.ts'

const { entries, rounds, figures, floors, json } = readOptions(process.argv.slice(2))

const server = await startRedisServer()
try {
  const results = await runRounds(server, sidesOf(figures), rounds, entries)
  const summary = summarize(results, figures)
  printSummary(summary, results, await redisVersion(server.url))
  const fallen = fallenFigures(summary.ratios, floors)
  for (const line of fallen) console.error(line)
  if (fallen.length > 0) process.exitCode = 1
  if (json) console.log(JSON.stringify(summary))
} finally {
  await server.stop()
}
