import { startRedisServer } from '../tools/redis-server.ts'
import { sidesOf } from './figures.ts'
import { fallenFigures } from './floor.ts'
import { redisVersion } from './inspect.ts'
import { readOptions } from './main-options.ts'
import { runRounds } from './rounds.ts'
import { printSummary, summarize } from './summary.ts'

const { entries, rounds, figures, floors, json } = readOptions(process.argv.slice(2))

/** Other programs slow a machine down and never speed it up: a floor holds if one of so many runs holds it. */
const ATTEMPTS = floors.size > 0 ? 3 : 1

for (let attempt = 1; attempt <= ATTEMPTS; attempt++) {
  const server = await startRedisServer()
  try {
    const results = await runRounds(server, sidesOf(figures), rounds, entries)
    const summary = summarize(results, figures)
    printSummary(summary, results, await redisVersion(server.url))
    const fallen = fallenFigures(summary.ratios, floors)
    if (fallen.length > 0 && attempt < ATTEMPTS) continue
    for (const line of fallen) console.error(line)
    if (fallen.length > 0) process.exitCode = 1
    if (json) console.log(JSON.stringify(summary))
    break
  } finally {
    await server.stop()
  }
}
