import { execFile } from 'node:child_process'
import { access, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { validateTemplate } from '../support/validate-template.ts'

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')

interface Template {
  // biome-ignore lint/suspicious/noExplicitAny: as many shapes as there are types of resources
  readonly Resources: Readonly<Record<string, { Type: string; Properties: any }>>
}

let out: string
let template: Template

// what cdk-nag finds and nobody acknowledged ends this with an error
beforeAll(async () => {
  out = await mkdtemp(join(tmpdir(), 'millrace-cdk-'))
  const env = { PATH: process.env.PATH, HOME: out, CDK_OUTDIR: join(out, 'cdk.out') }
  await run(process.execPath, ['infra/cdk.ts'], { cwd: root, env, timeout: 140_000 })
  template = JSON.parse(await readFile(join(env.CDK_OUTDIR, 'millrace-orders-dev.template.json'), 'utf8')) as Template
}, 150_000)

afterAll(() => rm(out, { recursive: true, force: true }))

test('the CDK app makes a valid template, without network and credentials', () => {
  expect(validateTemplate(template)).toEqual([])
}, 120_000)

test('the CDK app bundles both functions', async () => {
  const functions = resources('AWS::Lambda::Function')

  expect(functions.map(({ Properties: { Handler, Runtime, Timeout } }) => [Handler, Runtime, Timeout])).toEqual([
    ['index.handler', 'nodejs24.x', 55],
    ['index.handler', 'nodejs24.x', 55],
  ])
  const assets = (await readdir(join(out, 'cdk.out'))).filter((name) => name.startsWith('asset.'))
  expect(assets.length).toBe(2)
  for (const asset of assets) await access(join(out, 'cdk.out', asset, 'index.mjs'))
})

test('the CDK app names the parameters that hold the URLs, and holds no URL', () => {
  expect(
    resources('AWS::Lambda::Function').map(({ Properties }) => Properties.Environment.Variables.REDIS_URL_PARAMETER),
  ).toEqual(['/millrace/dev/orders/poller-redis-url', '/millrace/dev/orders/claimer-redis-url'])
  expect(JSON.stringify(template)).not.toMatch(/rediss?:\/\/|password|secret/i)
})

function resources(type: string) {
  return Object.values(template.Resources).filter(({ Type }) => Type === type)
}
