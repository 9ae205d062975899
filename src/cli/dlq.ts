import type { DeadLetter, UnreadableDeadLetter } from '../core/dead-letter/parse-dead-letter.ts'
import type { Consumer } from '../define/consumer.ts'
import type { Connection } from '../group/connection.ts'
import type { DeadLetterFilters, DeadLetterSource } from '../operate/dead-letters/dead-letter-pages.ts'
import type { DeadLetterProgress } from '../operate/dead-letters/dead-letters.ts'
import { dropDeadLetters, listDeadLetters, redriveDeadLetters } from '../operate/dead-letters/dead-letters.ts'
import { listAbsentNames } from './absent-names.ts'
import { confirm } from './confirm.ts'
import { DLQ_USAGE, type DlqOptions, readDlqOptions } from './dlq-options.ts'
import { createDeadLetterTable, deadLetterJson, deadLetterLines } from './letter-text.ts'
import { connectInspectionTargets, type InspectionTargets } from './targets.ts'
import { printLine } from './text/print.ts'
import { printableJson, printableName } from './text/printable.ts'
import { ProgressBar } from './text/progress-bar.ts'
import { UsageError } from './usage-error.ts'

/** Rows of a table unless a limit is given, and rows that are aligned with each other. */
const MAX_ROWS = 100
/** Width of a table that no terminal bounds. */
const WIDE = 200
/** Letters that were left are named up to that many. */
const MAX_NAMED = 20

/**
 * `millrace dlq`: lists, shows, redrives and drops dead letters.
 *
 * @throws {UsageError} The options are wrong.
 * @throws {Error} The server refused, or could not be reached.
 */
export async function run(args: readonly string[], signal: AbortSignal): Promise<void> {
  const options = readDlqOptions(args)
  if (options === undefined) return console.log(DLQ_USAGE)
  const targets = await connectInspectionTargets(`dlq ${options.action}`, options.modules, options.targets)
  try {
    const sources = sourcesOf(options, targets)
    const work = { options, signal, redis: targets.redis, sources }
    if (targets.consumers.length === 0) await checkNames(work, targets)
    if (!(await ACTIONS[options.action](work))) process.exitCode = 1
  } finally {
    await targets.redis.close()
  }
}

/** @throws {Error} A stream or group that was typed is not there, nor any letter. */
async function checkNames({ options, sources, redis }: Work, targets: InspectionTargets): Promise<void> {
  const [absent] = await listAbsentNames(targets)
  if (absent === undefined) return
  // those of a group that was lost lie there all the same
  for (const source of sources) for await (const _letter of listDeadLetters(source, { redis, limit: 1 })) return
  throw new Error(`millrace dlq ${options.action}: ${absent}`)
}

interface Work {
  readonly options: DlqOptions
  readonly redis: Connection
  readonly sources: readonly DeadLetterSource[]
  readonly signal: AbortSignal
}

/** Each resolves to whether all went as asked. */
const ACTIONS: Readonly<Record<DlqOptions['action'], (work: Work) => Promise<boolean>>> = { ls, show, redrive, drop }

function sourcesOf(
  { action, deadLetters }: DlqOptions,
  { consumers, streams, group }: InspectionTargets,
): DeadLetterSource[] {
  const command = `millrace dlq ${action}`
  if (consumers.length > 0) {
    if (deadLetters !== undefined) throw new UsageError(`${command}: --dead-letters goes without a module`)
    const named = consumers.filter(({ stream }) => streams.includes(stream))
    if (named.length === 0) throw new UsageError(`${command}: no consumer of that stream in the module`)
    // two consumers of one group have the same letters
    const whose = ({ stream, group, keys }: Consumer) => JSON.stringify([stream, group, keys.deadLetters])
    return [...Map.groupBy(named, whose).values()].flatMap(([first]) => first ?? [])
  }
  if (streams.length === 0 || group === undefined)
    throw new UsageError(`${command}: a MODULE, or --stream and --group, must say whose dead letters`)
  // whoever names a key has seen it: the server says whether it may lie there
  const elsewhere = deadLetters !== undefined && { deadLetters, allowOtherSlot: true }
  return streams.map((stream) => ({ stream, group, ...elsewhere }))
}

/** The letters that fit, of one group after the other. */
async function* lettersOf({ sources, options, redis, signal }: Work, limit = options.filters.limit) {
  let room = limit ?? Infinity
  for (const source of sources) {
    if (room === 0) return
    const filters = { ...options.filters, ...(limit !== undefined && { limit: room }) }
    for await (const letter of listDeadLetters(source, { ...filters, redis })) {
      if (signal.aborted) return
      yield { source, letter }
      room--
    }
  }
}

async function ls(work: Work): Promise<boolean> {
  const { options, signal } = work
  if (options.json) {
    for await (const { letter } of lettersOf(work))
      await printLine(printableJson(deadLetterJson(letter, false)), signal)
    return true
  }
  const limit = options.filters.limit ?? MAX_ROWS
  const linesOf = createDeadLetterTable(process.stdout.columns ?? WIDE)
  let found = 0
  let rows: (DeadLetter | UnreadableDeadLetter)[] = []
  const flush = async () => {
    for (const line of linesOf(rows)) await printLine(line, signal)
    rows = []
  }
  for await (const { letter } of lettersOf(work, limit + 1)) {
    if (++found <= limit) rows.push(letter)
    if (rows.length === MAX_ROWS) await flush()
  }
  if (rows.length > 0) await flush()
  if (found === 0) console.error('No dead letters')
  if (found > limit) console.error(`There are more than ${limit}: see --limit`)
  return true
}

async function show(work: Work): Promise<boolean> {
  const { json, payload, filters } = work.options
  let shown = 0
  for await (const { letter } of lettersOf(work)) {
    if (json) await printLine(printableJson(deadLetterJson(letter, payload)), work.signal)
    else await printLine(`${shown > 0 ? '\n' : ''}${deadLetterLines(letter, payload).join('\n')}`, work.signal)
    shown++
  }
  return allFound(shown, filters)
}

async function redrive(work: Work): Promise<boolean> {
  const { options, redis, signal } = work
  const { filters, all, dryRun, republish } = options
  return forEach(work, (source, room, onProgress) =>
    redriveDeadLetters(source, {
      ...filters,
      ...room,
      redis,
      all,
      dryRun,
      signal,
      onProgress,
      ...(republish && { republish }),
    }),
  )
}

async function drop(work: Work): Promise<boolean> {
  const { options, redis, signal } = work
  const { filters, all, dryRun, yes } = options
  if (dryRun || yes)
    return forEach(work, (source, room, onProgress) =>
      dropDeadLetters(source, { ...filters, ...room, redis, all, dryRun, signal, onProgress }),
    )
  const asked = await askToDrop(work)
  if (!asked) return false
  return forEach({ ...work, sources: [...asked.keys()] }, (source, room, onProgress) =>
    dropDeadLetters(source, { ...filters, ...room, ...asked.get(source), redis, all, signal, onProgress }),
  )
}

/** @returns Whose letters may be dropped, and up to which: what comes while somebody makes up their mind was not asked about. */
async function askToDrop(work: Work): Promise<ReadonlyMap<DeadLetterSource, { upToId: string }> | undefined> {
  if (!process.stdin.isTTY || !process.stderr.isTTY)
    throw new UsageError('millrace dlq drop: --yes must say so, since nobody can be asked')
  const seen = new Map<DeadLetterSource, { upToId: string }>()
  let count = 0
  for await (const { source, letter } of lettersOf(work)) {
    seen.set(source, { upToId: letter.id })
    count++
  }
  const question = `Drop ${count === 1 ? 'one dead letter' : `${count} dead letters`} for good? Type drop: `
  const isMeant = await confirm(question, 'drop', { input: process.stdin, output: process.stderr, signal: work.signal })
  if (isMeant) return seen
  console.error('Nothing was dropped')
  return undefined
}

type Counts = Readonly<Record<string, number>>
type Change = (
  source: DeadLetterSource,
  room: { limit?: number },
  onProgress: (progress: DeadLetterProgress<string>) => void,
) => Promise<Counts>

/** What is no reason to look again. */
const FINE = new Set(['found', 'redriven', 'republished', 'dropped', 'gone'])

/** Changes the letters of one group after the other, and says what became of them. */
async function forEach({ sources, options, signal }: Work, change: Change): Promise<boolean> {
  const { filters, json, dryRun } = options
  const bar = new ProgressBar(process.stderr)
  /** The first that stay, and how many there are: of a million there may be as many. */
  const left: string[] = []
  let leftCount = 0
  let found = 0
  for (const source of sources) {
    const room = filters.limit === undefined ? {} : { limit: filters.limit - found }
    if (room.limit === 0) break
    let counts: Counts | undefined
    try {
      counts = await change(source, room, (progress) => {
        counts = progress.counts
        const stay = progress.done.filter(({ outcome }) => !FINE.has(outcome))
        leftCount += stay.length
        for (const { letter, outcome } of stay.slice(0, MAX_NAMED - left.length)) left.push(leftLine(letter, outcome))
        bar.draw(progress.looked, progress.total, `${progress.counts.found} fit`)
      })
    } finally {
      bar.clear()
      // also what was done before the server refused
      if (counts) tell(source, counts)
      found += counts?.found ?? 0
    }
  }
  for (const text of left) console.error(text)
  if (leftCount > left.length) console.error(`and ${leftCount - left.length} more`)
  if (signal.aborted) console.error('Stopped before the end')
  return leftCount === 0 && !signal.aborted && allFound(found, filters)

  function tell({ stream, group }: DeadLetterSource, counts: Counts): void {
    if (json) console.log(printableJson({ stream, group, dryRun, ...counts }))
    else console.log(`${printableName(group)} on ${printableName(stream)}: ${countsText(counts, dryRun)}`)
  }
}

function countsText(counts: Counts, dryRun: boolean): string {
  const said = Object.entries(counts).filter(([name, count]) => name !== 'found' && count > 0)
  if (said.length === 0) return 'no letter fits'
  return `${dryRun ? 'would be ' : ''}${said.map(([name, count]) => `${name} ${count}`).join(', ')}`
}

/** Why a letter is still there. */
const WHY: Readonly<Record<string, string>> = {
  pending: 'its entry is pending already',
  unread: 'the group is set back before its entry and will read it by itself; drop the letter once it has',
  trimmed: 'its entry was trimmed from the stream; see --republish',
  packed: 'its entry was trimmed from the stream, and has too many fields to be republished',
  othersBehind: 'its entry was trimmed, and another group has yet to read what is in the stream; try again',
  noGroup: 'there is no such stream or group; a poller makes it',
  unreadable: 'it is no letter of ours; --id names it all the same',
}

function leftLine({ id }: DeadLetter | UnreadableDeadLetter, outcome: string): string {
  return `${id} stays: ${WHY[outcome] ?? outcome}`
}

function allFound(found: number, { ids, limit = Infinity }: DeadLetterFilters): boolean {
  const asked = Math.min(new Set(ids).size, limit)
  if (found >= asked) return true
  console.error(`${asked - found} of ${asked} letters were not found, or do not fit`)
  return false
}
