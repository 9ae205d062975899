import { stripVTControlCharacters } from 'node:util'
import fc from 'fast-check'
import { parse, View } from 'vega'
import { compile } from 'vega-lite'
import { expect, test } from 'vitest'
import { analysisFigure } from '../../src/cli/analysis-figure.ts'
import { analysisLines } from '../../src/cli/analysis-lines.ts'
import { frequencyLines, pendingLines } from '../../src/cli/analysis-tables.ts'
import { zonedTimeFormatter } from '../../src/cli/analysis-times.ts'
import { columnsOf } from '../../src/cli/text/columns.ts'
import type { Analysis } from '../../src/operate/analyze/analysis.ts'
import { FrequencyTable } from '../../src/operate/analyze/frequency-table.ts'

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 300 }),
  fc.string({ unit: 'grapheme', maxLength: 300 }),
  fc.constant('漢'.repeat(90)),
)
const bytes = fc.oneof(
  text,
  fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array)),
)
const number = fc.oneof(fc.nat(), fc.maxSafeNat())
const entries = fc.array(fc.tuple(bytes, number), { maxLength: 40 })

function table<Data>(added: readonly (readonly [string | Buffer, number])[], data: Data) {
  const counts = new FrequencyTable(() => data)
  for (const [value, weight] of added) counts.add(value, weight)
  const total = added.reduce((sum, [, weight]) => sum + weight, 0)
  return counts.result(10, { total, count: (weight) => weight }, (each) => each)
}

const analysis = fc
  .record({
    stream: text,
    reason: text,
    entries,
    number,
    isComplete: fc.boolean(),
    isSample: fc.boolean(),
    isExact: fc.boolean(),
    id: fc.tuple(fc.bigInt(0n, 2n ** 64n - 1n), number).map(([ms, seq]) => `${ms}-${seq}`),
    counts: fc.array(number, { minLength: 1, maxLength: 240 }),
    timeZone: fc.constantFrom('UTC', 'Europe/Berlin', 'America/Argentina/Buenos_Aires'),
  })
  .map(({ stream, reason, number: n, isComplete, isSample, isExact, ...given }): Analysis => {
    const size = { measured: n, mean: n / 3, p50: n, p99: n, max: n }
    const lag = { measured: n, ahead: n, p50Ms: n, p99Ms: n, maxMs: n }
    const inexact = <T extends object>(all: T & { distinct?: number }): T => (isExact ? all : { ...all, distinct: undefined as never, others: { count: n, error: n } })
    return {
      stream, at: n, clock: 'local', state: 'stream', length: n, read: n + 1, entries: n, firstId: given.id, lastId: given.id, isComplete,
      ...(isComplete ? {} : { stopped: reason }), ...(isSample ? { sample: { probes: n, margin: 0.5 } } : {}), missed: n,
      types: inexact(table(given.entries, { lag })),
      noEvents: { count: n, reasons: { [reason]: n } },
      producers: inexact(table(given.entries, {})),
      by: { field: reason, ...inexact(table(given.entries, {})), missing: n, unreadable: n },
      payloadBytes: size, entryBytes: size,
      hours: { timeZone: given.timeZone, counts: Array.from({ length: 24 }, (_, hour) => (hour % 2 ? n : 0)), undated: n },
      perMinute: { minutes: n, mean: n / 3, p50: n, p99: n, max: n, maxAt: n },
      timeline: { startMs: n, stepMs: 60_000, counts: given.counts },
      pending: { groups: [{ group: reason, pending: n + 1, examined: n, trimmed: n }], types: table(given.entries, { p50Ms: n, p99Ms: n, oldestMs: n }), noEvents: n },
      unknown: { [stream]: reason },
    }
  }) // biome-ignore format: one line each

/** What would steer a terminal, or end the line. */
const DOES_SOMETHING = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u

test('pendingLines() names every group, however much there is to say of it', () => {
  const counts = { pending: 100_000, examined: 10_000, trimmed: 10_000 }
  const groups = ['billing', 'search', 'x'.repeat(200)].map((group) => ({ group, ...counts }))
  const lines = pendingLines({ groups, types: table([], {} as never), noEvents: 0 }, (_, plain) => plain).join('\n')

  for (const name of ['billing', 'search', 'xxxxx…']) expect(lines).toContain(`${name}: 100,000 pending`)
})

test('frequencyLines() tells values apart that begin alike, or have spaces around', () => {
  const long = ['a', 'b'].map((end) => [`${'x'.repeat(300_000)}${end}`, 2_000_000] as const)
  const spaced = ['paid', 'paid ', ' paid'].map((value) => [value, 1] as const)
  const lines = frequencyLines(
    { ...table([...long, ...spaced], {}), distinct: undefined as never },
    (_, plain) => plain,
  )

  for (const line of lines.slice(1, 3)) expect(line).toMatch(/x… \(293\.0 KB, sha256 [0-9a-f]{8}…\)$/)
  expect(lines.slice(3).map((line) => line.slice(-6))).toEqual(
    ['" paid"', '  paid', '"paid "'].map((end) => end.slice(-6)),
  )
})

test('zonedTimeFormatter() writes an id that is no date as the number that it is', () => {
  const { formatId } = zonedTimeFormatter('UTC')

  expect(formatId('18446744073709551615-3')).toBe('18446744073709551615')
})

test('analysisFigure() has a label for every value, also for names that expressions of Vega refuse', async () => {
  const [found] = fc.sample(analysis, 1) as [Analysis]
  const names = ['__proto__', 'constructor', 'toString', 'plain']
  const types = table(
    names.map((name) => [name, 1] as const),
    {},
  )
  const { spec } = compile(analysisFigure({ ...found, types }) as never)
  const svg = await new View(parse(spec), { renderer: 'none' }).toSVG()

  for (const name of names) expect(svg).toContain(`>${name}</text>`)
})

test('analysisLines() has lines of at most 80 columns that steer no terminal, for any stream', () => {
  fc.assert(
    fc.property(analysis, (found) => {
      const lines = analysisLines(found).map(stripVTControlCharacters)

      expect(lines.filter((line) => columnsOf(line) > 80)).toEqual([])
      expect(lines.filter((line) => DOES_SOMETHING.test(line))).toEqual([])
    }),
  )
})
