import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createPublisher, defineConsumer, defineEvent, on } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { describe, expect, it } from 'vitest'
import * as z from 'zod/mini'
import {
  BACKOFF_NUMBER_OPTIONS,
  CONSUMER_NUMBER_OPTIONS,
  DEAD_LETTER_NUMBER_OPTIONS,
  type NumberOptionRow,
  PUBLISHER_NUMBER_OPTIONS,
} from '../../src/core/rows.ts'
import { redisStreamEventSchema } from '../../src/deploy/event-source.ts'
import { resolvePublisherOptions } from '../../src/publish/publisher-options.ts'

const ROOT = join(import.meta.dirname, '../..')
const textOf = (file: string) => readFileSync(join(ROOT, file), 'utf8')
const number = (value: number) => value.toLocaleString('en-US')

const routes = [on(defineEvent('OrderPaid', { payload: z.object({}) }), () => {})]
const consumerWith = (options: object) =>
  defineConsumer({ stream: 'orders', group: 'billing', routes, allowLongHandlers: true, ...options })
const redis = connectIoredis(() => {
  throw new Error('Nobody connects')
})
const publisherWith = (options: object) => createPublisher({ stream: 'orders', redis, ...options })

/** Rows, and the places that have to agree with them. */
interface Table {
  /** What stands before an option's name in messages. */
  readonly prefix: string
  readonly rows: Readonly<Record<string, NumberOptionRow>>
  /** Where an option has its docstring. */
  readonly file: string
  readonly define: (options: object) => unknown
  readonly defaults: Readonly<Record<string, unknown>>
  /** A row of a table in the README that has the default of each. */
  readonly readme: (name: string) => string
}

const { settings } = consumerWith({})
const TABLES: readonly Table[] = [
  {
    prefix: '',
    rows: CONSUMER_NUMBER_OPTIONS,
    file: 'src/define/consumer-settings.ts',
    define: consumerWith,
    defaults: { ...settings },
    readme: (name) => rowOf('## Consumer options', name),
  },
  {
    prefix: 'backoff.',
    rows: BACKOFF_NUMBER_OPTIONS,
    file: 'src/core/backoff.ts',
    define: (backoff) => consumerWith({ backoff }),
    defaults: { ...settings.backoff },
    readme: () => rowOf('## Consumer options', 'backoff'),
  },
  {
    prefix: 'deadLetters.',
    rows: DEAD_LETTER_NUMBER_OPTIONS,
    file: 'src/define/consumer-settings.ts',
    define: (deadLetters) => consumerWith({ deadLetters }),
    defaults: { maxLength: settings.maxDeadLetters },
    readme: () => rowOf('## Consumer options', 'deadLetters'),
  },
  {
    prefix: '',
    rows: PUBLISHER_NUMBER_OPTIONS,
    file: 'src/publish/publisher-options.ts',
    define: publisherWith,
    defaults: publisherDefaults(),
    readme: (name) => rowOf('## Publishing', name),
  },
]

const ROWS = TABLES.flatMap(({ rows, ...table }) =>
  Object.entries(rows).map(([name, row]) => ({ ...table, name, row, path: table.prefix + name })),
)

function publisherDefaults() {
  const { trim, maxEntryBytes, maxWaitMs } = resolvePublisherOptions({ stream: 'orders', redis })
  return { ...trim, maxEntryBytes, maxWaitMs }
}

/** The row of an option in the first table of a section of the README. */
function rowOf(section: string, name: string): string {
  const [, after = ''] = textOf('README.md').split(`${section}\n`)
  return after.split('\n').find((line) => line.startsWith(`| \`${name}\` |`)) ?? ''
}

/** What the documentation of an option says. */
function docOf(file: string, name: string): string {
  return new RegExp(`/\\*\\*((?:(?!\\*/)[^])*)\\*/\\s*readonly ${name}\\??:`).exec(textOf(file))?.[1] ?? ''
}

describe('every number among the options of a consumer and a publisher', () => {
  it('is read from four tables', () => {
    expect(ROWS.length).toBeGreaterThanOrEqual(18)
  })

  it.each(ROWS)('has the default of its row: $file $path', ({ name, row, defaults }) => {
    expect(defaults[name]).toBe(row.default)
  })

  it.each(ROWS)('refuses what is beyond the bounds of its row: $file $path', ({ name, row, path, define }) => {
    const { min, max } = row

    expect(() => define({ [name]: min })).not.toThrow()
    expect(() => define({ [name]: min - 1 })).toThrow(`${path} must be >= ${min}, got ${min - 1}`)
    expect(() => define({ [name]: NaN })).toThrow(`${path} must be >= ${min}, got NaN`)
    if (Number.isFinite(max))
      expect(() => define({ [name]: max + 1 })).toThrow(`${path} must be <= ${max}, got ${max + 1}`)
  })

  it.each(ROWS)('takes a fraction only where its row says so: $file $path', ({ name, row, path, define }) => {
    const given = row.min + 0.5
    const act = () => define({ [name]: given })

    if (row.hasFraction) expect(act).not.toThrow()
    else expect(act).toThrow(`${path} must be a whole number, got ${given}`)
  })

  it.each(ROWS)('has its default and its bounds in its docstring: $file $path', ({ name, row, file }) => {
    const doc = docOf(file, name)

    expect(doc).not.toBe('')
    if (isShown(row)) expect(doc).toContain(`Default ${number(row.default)}`)
    if (row.max <= 10_000) expect(doc).toContain(`${row.min} to ${number(row.max)}`)
  })

  it.each(ROWS)('has its default and its bounds in the README: $file $path', ({ name, row, readme }) => {
    const [, meaning = '', preset = ''] = readme(name).slice(2, -2).split(' | ')

    expect(readme(name)).not.toBe('')
    if (isShown(row)) expect(preset.split(', ')).toContain(number(row.default))
    if (row.max <= 10_000) expect(meaning).toContain(`${row.min} to ${number(row.max)}`)
  })

  it.each(['batchSize', 'concurrency', 'maxRunMs', 'maxPollers'] as const)(
    'has the same bounds in a deployment: %s',
    (name) => {
      const minimum = CONSUMER_NUMBER_OPTIONS[name].min
      const maximum = name === 'maxRunMs' ? 900_000 : CONSUMER_NUMBER_OPTIONS[name].max
      const { properties } = redisStreamEventSchema as { readonly properties: Readonly<Record<string, unknown>> }

      expect(properties[name]).toEqual({ type: 'integer', minimum, maximum })
      expect(docOf('src/deploy/event-source.ts', name)).toContain(`${minimum} to ${number(maximum)}`)
    },
  )
})

/** Whether there is a number to be shown as its default. */
function isShown(row: NumberOptionRow): row is NumberOptionRow & { readonly default: number } {
  return row.default !== undefined && Number.isFinite(row.default)
}
