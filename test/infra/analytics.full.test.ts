import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { validateTemplate } from '../support/validate-template.ts'
import type { PackagedService } from './osls.ts'
import { packageService } from './osls.ts'

const FILE = join(import.meta.dirname, '../../infra/analytics.yml')

let packaged: PackagedService

beforeAll(async () => {
  // the functions whose roles stand there: a role names the logs of its own
  const handler = 'noop.handler'
  const functions = {
    analyticsDetect: { handler, role: 'AnalyticsDetectRole' },
    analyticsRead: { handler, role: 'AnalyticsReadRole' },
  }
  packaged = await packageService(functions, { resources: [`\${file(${FILE})}`] })
}, 150_000)

test('analytics.yml is valid with its two functions in any service', { timeout: 120_000 }, () => {
  expect(validateTemplate(packaged.template)).toEqual([])
})

test('the dashboard of analytics.yml is JSON, and shows what the detector writes', () => {
  const parts = packaged.template.Resources.AnalyticsDashboard?.Properties.DashboardBody['Fn::Join'][1] as unknown[]
  const body = JSON.parse(parts.map((part) => (typeof part === 'string' ? part : 'x')).join(''))
  const shown = body.widgets.flatMap(
    ({ properties }: { properties: { metrics?: string[][] } }) => properties.metrics ?? [],
  )

  expect(body.widgets[0].properties.alarms).toHaveLength(2)
  expect(shown.map(([, name]: string[]) => name)).toEqual([
    'ActiveUserCount',
    'AlertCount',
    'LateEventCount',
    'AheadEventCount',
    'DeletedEventCount',
    'DuplicateEventCount',
  ])
})
