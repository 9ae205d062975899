import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { startRedisServer } from '../tools/redis-server.ts'
import { countOf, profileSide } from './rounds.ts'
import { SIDE_NAMES, type SideName } from './sides.ts'
import { printTopFunctions } from './top-functions.ts'

const USAGE = `Usage: npm run bench:profile -- [--side NAME] [--entries N] [--top N] [--out FILE.cpuprofile]
Sides: ${SIDE_NAMES.join(', ')}`

const { values: options } = parseArgs({
  options: {
    side: { type: 'string', default: 'millrace' },
    entries: { type: 'string', default: '200000' },
    top: { type: 'string', default: '10' },
    out: { type: 'string' },
  },
})
const [entries, top] = [Number(options.entries), Number(options.top)]
const side = options.side as SideName
if (!SIDE_NAMES.includes(side)) throw new RangeError(`There is no side ${side}. ${USAGE}`)
if (![entries, top].every((value) => Number.isInteger(value) && value > 0))
  throw new RangeError(`--entries and --top must be whole numbers from 1. ${USAGE}`)

const server = await startRedisServer()
const dir = await mkdtemp(join(tmpdir(), 'millrace-profile-'))
try {
  const file = options.out ?? join(dir, `${side}.cpuprofile`)
  const { cpuMs } = await profileSide(server, side, entries, file)
  await printTopFunctions(file, { top, count: countOf(side, entries), cpuMs })
} finally {
  await server.stop()
  await rm(dir, { recursive: true })
}
