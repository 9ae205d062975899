import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { validateTemplate } from '../support/validate-template.ts'
import { readAclUsers } from './acl-users.ts'

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')

const PARTS = {
  orders: ['poller', 'claimer', 'janitor'],
  activity: ['poller', 'claimer'],
  analytics: ['poller', 'claimer', 'detect', 'read'],
  checkout: ['poller', 'claimer', 'read'],
  webhooks: ['poller', 'claimer', 'read'],
  'fan-out': ['poller', 'claimer', 'read'],
}
const FUNCTIONS = Object.entries(PARTS).flatMap(([system, parts]) =>
  parts.map((part) => ({ user: `${system}-${part}`, parameter: `/millrace/dev/${system}/${part}-redis-url` })),
)

/** The logical id of a user. */
const idOf = (user: string) => `RedisUser${user.replaceAll('-', '')}`

interface Template {
  // biome-ignore lint/suspicious/noExplicitAny: as many shapes as there are types of resources
  readonly Resources: Readonly<Record<string, { Type: string; Properties: any }>>
}

let out: string
let template: Template
let withRedis: Template

// what cdk-nag finds and nobody acknowledged ends this with an error
async function synthesize(folder: string, context: object = {}): Promise<Template> {
  const env = {
    PATH: process.env.PATH,
    HOME: out,
    CDK_OUTDIR: join(out, folder),
    CDK_CONTEXT_JSON: JSON.stringify(context),
  }
  await run(process.execPath, ['infra/cdk.ts'], { cwd: root, env, timeout: 140_000 })
  return JSON.parse(await readFile(join(env.CDK_OUTDIR, 'millrace-orders-dev.template.json'), 'utf8')) as Template
}

beforeAll(async () => {
  out = await mkdtemp(join(tmpdir(), 'millrace-cdk-'))
  template = await synthesize('cdk.out')
  withRedis = await synthesize('with-redis', { redis: true })
}, 300_000)

afterAll(() => rm(out, { recursive: true, force: true }))

test('the CDK app makes a valid template, without network and credentials', () => {
  expect(validateTemplate(template)).toEqual([])
}, 120_000)

test('the CDK app bundles all functions, each with a handler that Lambda can call', async () => {
  const functions = resources('AWS::Lambda::Function')

  expect(functions.map(({ Properties: { Handler, Runtime, Timeout } }) => [Handler, Runtime, Timeout])).toEqual(
    FUNCTIONS.map(({ user }) => ['index.handler', 'nodejs24.x', /^webhooks-(poller|claimer)$/.test(user) ? 90 : 55]),
  )
  const assets = (await readdir(join(out, 'cdk.out'))).filter((name) => name.startsWith('asset.'))
  expect(assets.length).toBe(FUNCTIONS.length)
  const program = `console.log(typeof (await import('./index.mjs')).handler)`
  for (const asset of assets) {
    const env = { REDIS_URL: 'redis://127.0.0.1:1', ALERTS_TOPIC_ARN: 'arn:aws:sns:eu-west-1:123456789012:alerts' }
    const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', program], {
      cwd: join(out, 'cdk.out', asset),
      env,
    })
    expect(stdout.trim()).toBe('function')
  }
})

test('the CDK app has a dashboard of every group', () => {
  expect(resources('AWS::CloudWatch::Dashboard')).toHaveLength(17)
  expect(resources('AWS::Scheduler::Schedule')).toHaveLength(13)
})

test('the CDK app names the parameters that hold the URLs, and holds no URL', () => {
  expect(
    resources('AWS::Lambda::Function').map(({ Properties }) => Properties.Environment.Variables.REDIS_URL_PARAMETER),
  ).toEqual(FUNCTIONS.map(({ parameter }) => parameter))
  expect(JSON.stringify(template)).not.toMatch(/rediss?:\/\/|password|secret/i)
})

describe('the CDK app with a Redis of its own', () => {
  const only = (type: string) => resources(type, withRedis).map(({ Properties }) => Properties)

  test('makes a valid template', () => {
    expect(validateTemplate(withRedis)).toEqual([])
  }, 120_000)

  test('has a durable Valkey 9 in cluster mode, which evicts nothing and takes TLS alone', () => {
    expect(only('AWS::ElastiCache::ReplicationGroup')).toEqual([
      expect.objectContaining({
        Engine: 'valkey',
        EngineVersion: expect.stringMatching(/^9\./),
        ClusterMode: 'enabled',
        Durability: 'sync',
        MultiAZEnabled: true,
        AutomaticFailoverEnabled: true,
        NumNodeGroups: 2,
        ReplicasPerNodeGroup: 1,
        TransitEncryptionEnabled: true,
        TransitEncryptionMode: 'required',
        AtRestEncryptionEnabled: true,
      }),
    ])
    expect(only('AWS::ElastiCache::ParameterGroup')).toEqual([
      expect.objectContaining({
        CacheParameterGroupFamily: 'valkey9',
        Properties: { 'cluster-enabled': 'yes', 'maxmemory-policy': 'noeviction' },
      }),
    ])
    const [cache] = resources('AWS::ElastiCache::ReplicationGroup', withRedis)
    expect(cache).toMatchObject({ DeletionPolicy: 'Snapshot', UpdateReplacePolicy: 'Snapshot' })
  })

  test("alarms on the lag of every node's log", () => {
    const [alarm] = only('AWS::CloudWatch::Alarm').filter(({ Metrics }) => Metrics)
    const [sum, ...nodes] = alarm.Metrics
    expect(sum.Expression).toBe('MAX([lag0, lag1, lag2, lag3])')
    const names = nodes.map(({ MetricStat: { Metric } }: { MetricStat: { Metric: { Dimensions: unknown[] } } }) =>
      JSON.stringify(Metric.Dimensions)
        .match(/-000\d-00\d/)
        ?.join(),
    )
    expect(names).toEqual(['-0001-001', '-0001-002', '-0002-001', '-0002-002'])
  })

  test("has the ACL file's users, who log in by IAM, and a disabled default user", async () => {
    const expected = [...(await readAclUsers()).values()].map(({ name, flat }) => ({
      Engine: 'redis',
      UserId: `${name}-dev`,
      UserName: `${name}-dev`,
      AccessString: flat.join(' '),
      AuthenticationMode: { Type: 'iam' },
    }))
    const users = only('AWS::ElastiCache::User')
    expect(users.filter(({ UserName }) => UserName !== 'default')).toEqual(expected)
    expect(users.find(({ UserName }) => UserName === 'default')).toMatchObject({ AccessString: 'off -@all' })
  })

  test('gives each function its address without a password, and lets it connect as its user', () => {
    const urls = only('AWS::SSM::Parameter').map(({ Name, Value }) => [Name, Value['Fn::Join'][1]])
    for (const [at, { user, parameter }] of FUNCTIONS.entries())
      expect(urls[at]).toMatchObject([
        parameter,
        ['rediss://', { Ref: idOf(user) }, '@', {}, ':', {}, '?cluster&iam=', { Ref: 'OrdersRedis' }],
      ])
    const policies = JSON.stringify(only('AWS::IAM::Policy'))
    expect(policies.match(/elasticache:Connect/g)).toHaveLength(FUNCTIONS.length)
    for (const { user } of FUNCTIONS) expect(policies).toContain(`"Fn::GetAtt":["${idOf(user)}","Arn"]`)
    expect(policies).not.toContain(idOf('orders-operator'))
  })
})

function resources(type: string, { Resources } = template) {
  return Object.values(Resources).filter(({ Type }) => Type === type)
}
