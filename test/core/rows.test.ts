import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { NUMBERS } from '../../src/core/rows.ts'
import { redisStreamSchema } from '../../src/deploy/event-source.ts'

const src = (file: string) => readFileSync(join(import.meta.dirname, '../../src', file), 'utf8')
const number = (value: number) => value.toLocaleString('en-US')

/** What the documentation of an option says. */
function docOf(file: string, name: string): string {
  return new RegExp(`/\\*\\*((?:(?!\\*/)[^])*)\\*/\\s*readonly ${name}\\?:`).exec(src(file))?.[1] ?? ''
}

describe('every number among the options of a consumer', () => {
  it.each(Object.entries(NUMBERS))('has its default and its upper bound in what is said of it: %s', (name, row) => {
    const doc = docOf('define/consumer-settings.ts', name)

    expect(doc).toContain(`Default ${number(row.default)}`)
    if (row.max <= 10_000) expect(doc).toContain(`${row.min} to ${number(row.max)}`)
  })

  it.each(['batchSize', 'concurrency', 'maxPollers'] as const)('has the same bounds in a deployment: %s', (name) => {
    const { min, max } = NUMBERS[name]
    const { properties } = redisStreamSchema as { readonly properties: Readonly<Record<string, unknown>> }

    expect(properties[name]).toEqual({ type: 'integer', minimum: min, maximum: max })
    expect(docOf('deploy/event-source.ts', name)).toContain(`${min} to ${number(max)}`)
  })
})
