import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { findFaults } from './prose/find-faults.ts'

/** Beginnings of the paths whose prose is checked later, once the changes to these files are in. `--later` checks only these. */
const LATER: readonly string[] = [
  'functions/',
  'src/clients/connector.ts',
  'src/define/policy',
  'src/deploy/dashboard.ts',
  'src/deploy/event-source.ts',
  'src/group/memory/memory-group.ts',
  'src/group/redis/joining.ts',
  'src/group/redis/scripts/start.ts',
  'src/group/redis/settling.ts',
  'src/observe/opentelemetry/report-traces.ts',
  'src/observe/powertools/report-metrics.ts',
  'src/publish/publisher.ts',
  'src/run/admission.ts',
  'src/run/decided.ts',
  'src/run/policy-commands.ts',
  'src/run/run-policies.ts',
  'test/policies/',
]

const PATTERNS = ['*.ts', '*.js', '*.cjs', '*.mjs', '*.md']

const isLater = process.argv.includes('--later')
const listed = execFileSync('git', ['ls-files', '-co', '--exclude-standard', ...PATTERNS], { encoding: 'utf8' })
const files = listed
  .trim()
  .split('\n')
  .filter((file) => LATER.some((start) => file.startsWith(start)) === isLater)

const faults = files.flatMap((file) => findFaults(file, readFileSync(file, 'utf8')))
for (const fault of faults) console.error(fault)
if (faults.length > 0) process.exitCode = 1
