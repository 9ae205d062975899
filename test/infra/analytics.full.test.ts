import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { validateTemplate } from '../support/validate-template.ts'
import type { PackagedService } from './osls.ts'
import { packageService } from './osls.ts'

const FILE = join(import.meta.dirname, '../../infra/analytics.yml')

let packaged: PackagedService

beforeAll(async () => {
  packaged = await packageService({ noop: { handler: 'noop.handler' } }, { resources: [`\${file(${FILE})}`] })
}, 150_000)

test('analytics.yml is valid beside any service', { timeout: 120_000 }, () => {
  expect(validateTemplate(packaged.template)).toEqual([])
})

test('the dashboard of analytics.yml is JSON, and shows what the detector writes', () => {
  const parts = packaged.template.Resources.AnalyticsDashboard?.Properties.DashboardBody['Fn::Join'][1] as unknown[]
  const body = JSON.parse(parts.map((part) => (typeof part === 'string' ? part : 'x')).join(''))
  const shown = body.widgets.flatMap(
    ({ properties }: { properties: { metrics?: string[][] } }) => properties.metrics ?? [],
  )

  expect(shown.map(([, name]: string[]) => name)).toEqual([
    'ActiveUserCount',
    'AlertCount',
    'LateEventCount',
    'AheadEventCount',
    'DeletedEventCount',
    'DuplicateEventCount',
  ])
})
