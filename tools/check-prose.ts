import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { findFaults } from './prose/find-faults.ts'

const PATTERNS = ['*.ts', '*.js', '*.cjs', '*.mjs', '*.md']

const listed = execFileSync('git', ['ls-files', '-co', '--exclude-standard', ...PATTERNS], { encoding: 'utf8' })
const files = listed.trim().split('\n')

const faults = files.flatMap((file) => findFaults(file, readFileSync(file, 'utf8')))
for (const fault of faults) console.error(fault)
if (faults.length > 0) process.exitCode = 1
