import { formatCount } from '../core/words.ts'
import { quotedValue } from '../errors.ts'
import { diagnose } from '../operate/doctor/diagnose.ts'
import { type Finding, SEVERITIES, type Severity } from '../operate/doctor/finding.ts'
import { type Repaired, repairIndexes } from '../operate/doctor/repair.ts'
import { parseCommandLine } from './parse-command-line.ts'
import { connectInspectionTargets, TARGET_CLI_OPTIONS, TARGET_USAGE } from './targets.ts'
import { cutText, printable, printableJson } from './text/printable.ts'
import { UsageError } from './usage-error.ts'

const USAGE = `millrace doctor [MODULE]... [--stream KEY]... [--group NAME] [--redis URL] [--timeout SECONDS]
                [--target-timeout TYPE=SECONDS]... [--pollers N] [--repair] [--json]

Says what is wrong with consumers, their streams and their server, the worst first, each with what fixes it. Changes nothing
without --repair.

${TARGET_USAGE}
  --timeout SECONDS              the timeout of the poller's function
  --target-timeout TYPE=SECONDS  the timeout of a function that handles events of that type; may be repeated
  --pollers N                    pollers that schedules wake at once
  --repair                       inspects nothing, but compares what is set aside with its indexes: what has no place in one is
                                 due now; needs the rights of a claimer
  --json                         the findings, or what was repaired, as JSON, for machines

Ends with 0 where nothing is worse than info, 1 where there is an error, 3 where there are only warnings.`

/** Characters of a finding that are shown; --json has all. */
const MOST_TEXT = 2_000

const EXIT: Readonly<Partial<Record<Severity, number>>> = { error: 1, warning: 3 }

const HEADINGS: Readonly<Record<Severity, string>> = {
  error: 'Errors',
  warning: 'Warnings',
  info: 'Worth knowing',
  unknown: 'Not told',
}

/**
 * `millrace doctor`: prints findings, and sets the exit code by the worst.
 *
 * @throws {UsageError} The options are wrong.
 * @throws {RedisConnectionError} No reply came.
 */
export async function run(args: readonly string[]): Promise<void> {
  const { values, positionals } = parseCommandLine({ name: 'doctor', usage: USAGE }, args, OPTIONS)
  if (values.help) return console.log(USAGE)
  const limits = readLimits(values)
  const { redis, consumers, streams, group } = await connectInspectionTargets('doctor', positionals, values)
  try {
    if (streams.length === 0) throw new UsageError(`millrace doctor: name a MODULE or a --stream\n\n${USAGE}`)
    const which = { redis, streams, ...(group !== undefined && { group }) }
    if (values.repair) {
      const repaired = await repairIndexes(consumers, which)
      return console.log(values.json ? printableJson(repaired, 2) : repairLines(repaired).join('\n'))
    }
    const findings = await diagnose(consumers, { ...which, ...limits })
    if (values.json) console.log(printableJson(findings, 2))
    else for (const line of linesOf(findings)) console.log(line)
    process.exitCode = EXIT[findings[0]?.severity ?? 'info'] ?? 0
  } finally {
    await redis.close()
  }
}

const OPTIONS = {
  ...TARGET_CLI_OPTIONS,
  timeout: { type: 'string' },
  'target-timeout': { type: 'string', multiple: true },
  pollers: { type: 'string' },
  repair: { type: 'boolean', default: false },
  json: { type: 'boolean', default: false },
} as const

type Values = ReturnType<typeof parseCommandLine<typeof OPTIONS>>['values']

function repairLines(groups: readonly Repaired[]): string[] {
  if (groups.length === 0) return ['No group has anything set aside']
  return groups.map(({ stream, group, repaired }) => {
    const what = repaired === 0 ? 'nothing' : formatCount(repaired, 'entry', 'entries')
    return printable(`${stream}/${group}: ${what} had no place in an index${repaired === 0 ? '' : '; due now'}`)
  })
}

function linesOf(findings: readonly Finding[]): string[] {
  const lines = SEVERITIES.flatMap((severity) => {
    const those = findings.filter((finding) => finding.severity === severity)
    if (those.length === 0) return []
    return [`${HEADINGS[severity]} (${those.length})`, ...those.flatMap(findingLines), '']
  })
  return [...lines, `${countOf(findings, 'error')}, ${countOf(findings, 'warning')}`]
}

function countOf(findings: readonly Finding[], severity: Severity): string {
  const count = findings.filter((finding) => finding.severity === severity).length
  return `${count} ${severity}${count === 1 ? '' : 's'}`
}

function findingLines({ check, stream, group, message, fix }: Finding): string[] {
  const where = [stream, group].filter((name) => name !== undefined).join('/')
  // keys, groups and consumers have the names that others gave them
  // names are data, and one of a megabyte would hide what else there is
  const shown = (text: string) => printable(cutText(text, MOST_TEXT))
  return [`  ${shown(`${check}${where === '' ? '' : ` ${where}`}: ${message}`)}`, `    Fix: ${shown(fix)}`]
}

function readLimits({ timeout, pollers, 'target-timeout': targets = [] }: Values) {
  return {
    ...(timeout !== undefined && { functionTimeoutMs: seconds('--timeout', timeout) }),
    ...(pollers !== undefined && { pollers: whole('--pollers', pollers) }),
    targetTimeoutsMs: Object.fromEntries(targets.map(readTarget)),
  }
}

function readTarget(text: string): [string, number] {
  const [, type, value] = /^(.+)=([^=]*)$/s.exec(text) ?? []
  if (type === undefined || value === undefined)
    throw new UsageError(`millrace doctor: --target-timeout must be TYPE=SECONDS, got ${quotedValue(text)}`)
  return [type, seconds('--target-timeout', value)]
}

function seconds(name: string, text: string): number {
  const value = Number(text)
  if (text.trim() !== '' && value > 0 && value <= 86_400) return value * 1_000
  throw new UsageError(`millrace doctor: ${name} must be a number of seconds, at most 86400, got ${quotedValue(text)}`)
}

function whole(name: string, text: string): number {
  const value = Number(text)
  if (Number.isInteger(value) && value >= 1) return value
  throw new UsageError(`millrace doctor: ${name} must be a whole number from 1, got ${quotedValue(text)}`)
}
