import type { DeadLetterReason } from '../core/outcome.ts'
import { DEAD_LETTER_REASONS } from '../core/outcome.ts'
import { quotedValue } from '../errors.ts'
import type { DeadLetterFilters } from '../operate/dead-letters/dead-letter-pages.ts'
import { SELECTIVE_FILTER_NAMES } from '../operate/dead-letters/dead-letter-pages.ts'
import { parseCommandLine } from './parse-command-line.ts'
import { TARGET_CLI_OPTIONS, TARGET_USAGE, type TargetOptionValues } from './targets.ts'
import { parseDurationOption } from './text/duration.ts'
import { UsageError } from './usage-error.ts'

const ACTIONS = ['ls', 'show', 'redrive', 'drop'] as const
type DlqAction = (typeof ACTIONS)[number]

export interface DlqOptions {
  readonly action: DlqAction
  readonly modules: readonly string[]
  readonly targets: TargetOptionValues
  /** A dead-letter stream of another name than the usual. */
  readonly deadLetters: string | undefined
  readonly filters: DeadLetterFilters
  readonly all: boolean
  readonly dryRun: boolean
  readonly republish: 'group' | 'all' | undefined
  readonly payload: boolean
  readonly json: boolean
  readonly yes: boolean
}

export const DLQ_USAGE = `millrace dlq ls|show|redrive|drop [MODULE]... [options]

  ls        lists dead letters, oldest first
  show      one or more, by --id, with all that is known of the failure
  redrive   puts their entries back to work for the group that failed them; the claimer starts them
  drop      removes them for good

${TARGET_USAGE}
  --dead-letters KEY  the dead-letter stream, where it has another name than the usual, and no MODULE says so

Which (letters have to fit all that is given):
  --type TYPE         event type; may be repeated
  --reason REASON     ${DEAD_LETTER_REASONS.slice(0, 5).join(', ')},
                      ${DEAD_LETTER_REASONS.slice(5).join(', ')}; may be repeated
  --key KEY           what orderedBy gave for the event; may be repeated
  --older-than AGE    set aside that long ago or earlier: 90s, 30m, 2h, 1d, 1w
  --newer-than AGE    set aside since
  --id LETTER         by the letter's own id, also without --id; may be repeated
  --limit N           at most that many, the oldest (ls in a table: 100)
  --all               redrive, drop: every letter of the group

  --dry-run           redrive, drop: says what would become of them, and changes nothing
  --republish group   redrive: appends anew what was trimmed from the stream, under a new id, only for this group; the others have to have
                      read all there is
  --republish all     the same for every group of the stream: all of them handle it
  --yes               drop: does not ask
  --payload           show: the entry's own fields, too
  --json              for machines: one object a line

Exits with 0, with 1 if letters were left that should have gone, none has the id, or there is no such stream or group, and with 2
on wrong usage.`

/**
 * What a command line says; `undefined` if it asks for help.
 *
 * @throws {UsageError} It says something else.
 */
export function readDlqOptions(args: readonly string[]): DlqOptions | undefined {
  const { values, positionals } = parse(args)
  if (values.help) return undefined
  const [word, ...rest] = positionals
  const action = ACTIONS.find((one) => one === word)
  if (action === undefined)
    throw new UsageError(`millrace dlq: the first word must be one of ${ACTIONS.join(', ')}\n\n${DLQ_USAGE}`)
  const command = `dlq ${action}`
  const ids = [...values.id, ...rest.filter(isLetterId)]
  const options = {
    action,
    modules: rest.filter((one) => !isLetterId(one)),
    targets: { redis: values.redis, stream: values.stream, priorities: values.priorities, group: values.group },
    deadLetters: values['dead-letters'],
    filters: readFilters(command, values, ids),
    all: values.all,
    dryRun: values['dry-run'],
    republish: readRepublish(command, values.republish),
    payload: values.payload,
    json: values.json,
    yes: values.yes,
  }
  checkTogether(command, options)
  return options
}

const TEXT = { type: 'string' } as const
const TEXTS = { type: 'string', multiple: true, default: [] as string[] } as const
const FLAG = { type: 'boolean', default: false } as const

const OPTIONS = {
  ...TARGET_CLI_OPTIONS,
  'dead-letters': TEXT,
  type: TEXTS,
  reason: TEXTS,
  key: TEXTS,
  'older-than': TEXT,
  'newer-than': TEXT,
  id: TEXTS,
  limit: TEXT,
  all: FLAG,
  'dry-run': FLAG,
  republish: TEXT,
  payload: FLAG,
  json: FLAG,
  yes: FLAG,
}

function parse(args: readonly string[]) {
  return parseCommandLine({ name: 'dlq', usage: DLQ_USAGE }, args, OPTIONS)
}

type Values = ReturnType<typeof parse>['values']

function checkReasons(command: string, reasons: readonly string[]): asserts reasons is readonly DeadLetterReason[] {
  const wrong = reasons.find((reason) => !(DEAD_LETTER_REASONS as readonly string[]).includes(reason))
  if (wrong === undefined) return
  throw new UsageError(
    `millrace ${command}: --reason must be one of ${DEAD_LETTER_REASONS.join(', ')}, got ${quotedValue(wrong)}`,
  )
}

function checkIds(command: string, ids: readonly string[]): void {
  const wrong = ids.find((id) => !isLetterId(id))
  if (wrong === undefined) return
  throw new UsageError(
    `millrace ${command}: --id must be the id of a letter, as in 1767323045006-0, got ${quotedValue(wrong)}`,
  )
}

function readFilters(command: string, values: Values, ids: readonly string[]): DeadLetterFilters {
  const {
    type: types,
    reason: reasons,
    key: orderingKeys,
    'older-than': olderThan,
    'newer-than': newerThan,
    limit,
  } = values
  checkReasons(command, reasons)
  checkIds(command, ids)
  return {
    ...(types.length > 0 && { types }),
    ...(reasons.length > 0 && { reasons }),
    ...(orderingKeys.length > 0 && { orderingKeys }),
    ...(olderThan !== undefined && { olderThanMs: parseDurationOption(command, '--older-than', olderThan) }),
    ...(newerThan !== undefined && { newerThanMs: parseDurationOption(command, '--newer-than', newerThan) }),
    ...(ids.length > 0 && { ids }),
    ...(limit !== undefined && { limit: readLimit(command, limit) }),
  }
}

function isLetterId(text: string): boolean {
  return /^\d{1,20}-\d{1,20}$/.test(text)
}

function readLimit(command: string, text: string): number {
  const limit = Number(text)
  if (/^\d+$/.test(text) && limit > 0) return limit
  throw new UsageError(`millrace ${command}: --limit must be a whole number from 1, got ${quotedValue(text)}`)
}

function readRepublish(command: string, text: string | undefined): 'group' | 'all' | undefined {
  if (text === undefined || text === 'group' || text === 'all') return text
  throw new UsageError(`millrace ${command}: --republish must be group or all, got ${quotedValue(text)}`)
}

/** Options that an action does not have. */
const NOT_FOR: Readonly<Record<DlqAction, readonly (keyof DlqOptions)[]>> = {
  ls: ['dryRun', 'republish', 'payload', 'yes'],
  show: ['dryRun', 'republish', 'yes', 'all'],
  redrive: ['payload', 'yes'],
  drop: ['payload', 'republish'],
}

const FLAGS: Readonly<Record<string, string>> = { dryRun: 'dry-run' }

function checkTogether(command: string, options: DlqOptions): void {
  const { action, filters, all } = options
  const wrong = NOT_FOR[action].find((name) => options[name])
  if (wrong !== undefined) throw new UsageError(`millrace ${command}: there is no --${FLAGS[wrong] ?? wrong}`)
  const chooses = SELECTIVE_FILTER_NAMES.some((name) => filters[name] !== undefined)
  if (action === 'show' && filters.ids === undefined)
    throw new UsageError('millrace dlq show: --id must say which letter')
  if (action === 'ls' || chooses) return
  if (!all)
    throw new UsageError(
      `millrace ${command}: --type, --reason, --key, --older-than, --newer-than or --id must say which letters, or --all`,
    )
}
