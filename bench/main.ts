import { parseArgs } from 'node:util'
import { startRedisServer } from '../tools/redis-server.ts'
import { redisVersion } from './inspect.ts'
import { runRounds } from './rounds.ts'
import { printTable, summarize } from './summary.ts'

const USAGE = 'Usage: npm run bench -- [--entries N] [--rounds N] [--json]'

const { values: options } = parseArgs({
  options: {
    entries: { type: 'string', default: '100000' },
    rounds: { type: 'string', default: '5' },
    json: { type: 'boolean', default: false },
  },
})
const entries = whole('entries', options.entries)
const sizes = { local: entries, distant: Math.ceil(entries / 5), bullmq: Math.ceil(entries / 10) }

const server = await startRedisServer()
try {
  const rounds = await runRounds(server, whole('rounds', options.rounds), sizes)
  const summary = summarize(rounds)
  printTable(summary, sizes, rounds.length, await redisVersion(server.url))
  if (options.json) console.log(JSON.stringify({ ratios: summary.ratios, commandsPerEvent: summary.commandsPerEvent }))
} finally {
  await server.stop()
}

function whole(name: string, value: string): number {
  if (/^[1-9]\d*$/.test(value)) return Number(value)
  throw new RangeError(`Cannot run the benchmark: --${name} must be a whole number from 1, got ${value}. ${USAGE}`)
}
