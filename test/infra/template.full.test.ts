import { execFile } from 'node:child_process'
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { Redis } from 'ioredis'
import type { Report } from 'millrace'
import { createPublisher } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { countsOf, readCounts } from '../../demo/activity/account.ts'
import { drawOrder } from '../../demo/fan-out/draw.ts'
import { createRandom } from '../../demo/random.ts'
import { SECRET, startMerchants } from '../../demo/webhooks/merchants.ts'
import { createActivityPublisher } from '../../functions/activity/load.ts'
import { type Simulated, simulateActivity } from '../../functions/activity/simulation.ts'
import { OrderPlaced } from '../../functions/events/checkout.ts'
import { OrderPaid } from '../../functions/events/orders.ts'
import { WebhookDue } from '../../functions/events/webhooks.ts'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'
import { validateTemplate } from '../support/validate-template.ts'
import { createAclUsers, readAclUsers, urlOf } from './acl-users.ts'
import { type PackagedFunctions, packageFunctions } from './package-functions.ts'

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')

/** A claimer has the doctor with it; a poller of activity has effects, and what knows duplicates; one of checkout publishes and delays as well. */
const FUNCTIONS = [
  { name: 'ordersPoller', system: 'orders', part: 'poller', maxKB: 446 },
  { name: 'ordersClaimer', system: 'orders', part: 'claimer', maxKB: 526 },
  { name: 'ordersJanitor', system: 'orders', part: 'janitor', maxKB: 391, schedule: 'rate(5 minutes)' },
  { name: 'activityPoller', system: 'activity', part: 'poller', maxKB: 528 },
  { name: 'activityClaimer', system: 'activity', part: 'claimer', maxKB: 599 },
  { name: 'analyticsPoller', system: 'analytics', part: 'poller', maxKB: 529 },
  { name: 'analyticsClaimer', system: 'analytics', part: 'claimer', maxKB: 536 },
  { name: 'checkoutPoller', system: 'checkout', part: 'poller', maxKB: 563 },
  { name: 'checkoutClaimer', system: 'checkout', part: 'claimer', maxKB: 640 },
  { name: 'webhooksPoller', system: 'webhooks', part: 'poller', maxKB: 586 },
  { name: 'webhooksClaimer', system: 'webhooks', part: 'claimer', maxKB: 657 },
  { name: 'fanOutPoller', system: 'fan-out', part: 'poller', maxKB: 557 },
  { name: 'fanOutClaimer', system: 'fan-out', part: 'claimer', maxKB: 613 },
].map(complete)

/** Functions that poll nothing: their roles stand in infra/analytics.yml, infra/checkout.yml, infra/webhooks.yml and infra/fan-out.yml. */
const OTHERS = [
  { name: 'analyticsDetect', system: 'analytics', part: 'detect', maxKB: 443 },
  { name: 'analyticsRead', system: 'analytics', part: 'read', maxKB: 427 },
  { name: 'checkoutRead', system: 'checkout', part: 'read', maxKB: 427 },
  { name: 'webhooksRead', system: 'webhooks', part: 'read', maxKB: 337 },
  { name: 'fanOutRead', system: 'fan-out', part: 'read', maxKB: 427 },
].map(complete)
const ALL = [...FUNCTIONS, ...OTHERS]

function complete(fn: { name: string; system: string; part: string; maxKB: number; schedule?: string }) {
  return {
    schedule: 'rate(1 minute)',
    ...fn,
    id: `${fn.name.charAt(0).toUpperCase()}${fn.name.slice(1)}`,
    bundle: `functions/${fn.system}/${fn.part}.mjs`,
    user: `${fn.system}-${fn.part}`,
    parameter: `/millrace/dev/${fn.system}/${fn.part}-redis-url`,
  }
}

/** Groups that the functions serve; each has alarms and a dashboard. */
const CONSUMERS = [
  'OrdersBilling',
  'UserActionsAnalytics',
  'UserOrdersFulfilment',
  'SystemMetricsMonitoring',
  'UserActionsDashboard',
  'CheckoutOrder',
  'CheckoutPayment',
  'CheckoutStock',
  'CheckoutShipping',
  'CheckoutStats',
  'WebhooksDelivery',
  'ShopOrdersBilling',
  'ShopOrdersSearch',
  'ShopOrdersCache',
  'ShopOrdersWarehouse',
  'ShopOrdersBridge',
  'ShopOrdersAudit',
]

/** What the functions of a system, or one of them, have in their environment beside. */
const ENVIRONMENTS: Readonly<Record<string, object>> = {
  orders: { ORDERS_STREAM: 'orders' },
  ordersJanitor: {
    ARCHIVE_BUCKET: '',
    MILLRACE_JANITOR: JSON.stringify([
      {
        stream: 'orders',
        groups: {
          billing: {
            owner: 'orders-team',
            objective: { maxLag: 10_000, maxAgeMs: 900_000 },
            deadLetters: { owner: 'orders-team', retentionMs: 1_209_600_000 },
          },
        },
      },
    ]),
  },
  checkout: { CHECKOUT_TIMEOUT_MS: '900000', PARTNERS_URL: '' },
  webhooks: { WEBHOOKS_TIMEOUT_MS: '15000' },
  'fan-out': { WAREHOUSE_URL: '', EVENT_BUS_NAME: { Ref: 'OrdersBus' }, AUDIT_BUCKET: { Ref: 'OrdersRecord' } },
}

/** In seconds, of the functions whose handlers take more than 10. */
const TIMEOUTS: Readonly<Record<string, number>> = { webhooks: 90 }

/** What a system brings from npm beside what all have. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  webhooks: ['@stablelib/base64', 'fast-sha256', 'ipaddr.js', 'standardwebhooks'],
}

const GROUPS_OF_ACTIVITY = { analytics: 'user-actions', fulfilment: 'user-orders', monitoring: 'system-metrics' }

const QUEUE_ARN = { 'Fn::GetAtt': ['RedisStreamFailedSchedules', 'Arn'] }

let packaged: PackagedFunctions

beforeAll(async () => {
  packaged = await packageFunctions()
}, 150_000)

afterAll(() => packaged?.remove())

describe('the template', () => {
  test('is valid', { timeout: 60_000 }, () => {
    expect(validateTemplate(packaged.template)).toEqual([])
  })

  test('has only functions, schedules, roles, logs, a queue for failures, alarms and dashboards', () => {
    const types = Object.values(packaged.template.Resources).map(({ Type }) => Type)
    const count = (times: number, type: string) => Array.from({ length: times }, () => type)
    const ofConsumers = ['Lambda::Function', 'Lambda::EventInvokeConfig', 'Logs::LogGroup', 'Scheduler::Schedule']
    const ofDetector = ['CloudWatch::Alarm', 'CloudWatch::Alarm', 'CloudWatch::Dashboard', 'Events::Rule', 'SNS::Topic']

    expect(types.filter((type) => !type.startsWith('AWS::S3::')).sort()).toEqual(
      [
        ...ofConsumers.flatMap((type) => count(FUNCTIONS.length, `AWS::${type}`)),
        ...['Lambda::Function', 'Logs::LogGroup', 'IAM::Role'].flatMap((type) => count(OTHERS.length, `AWS::${type}`)),
        ...[...ofDetector, 'Lambda::EventInvokeConfig', 'Lambda::Permission'].map((type) => `AWS::${type}`),
        ...count(4, 'AWS::Lambda::Url'),
        'AWS::Events::EventBus', // of fan-out, as what its poller and claimer may do there
        ...count(2, 'AWS::IAM::RolePolicy'),
        ...count(2 * FUNCTIONS.length, 'AWS::IAM::Role'), // the function's own, and that of its schedule
        ...count(8 * CONSUMERS.length + 3, 'AWS::CloudWatch::Alarm'), // three of the janitor's
        ...count(CONSUMERS.length, 'AWS::CloudWatch::Dashboard'),
        'AWS::SQS::Queue',
        'AWS::SQS::QueuePolicy',
        'AWS::Scheduler::ScheduleGroup',
      ].sort(),
    )
  })

  test.each(CONSUMERS)('has alarms and a dashboard of %s', (id) => {
    const own = Object.keys(packaged.template.Resources).filter((name) => name.startsWith(id))

    expect(own).toEqual(expect.arrayContaining([`${id}Dashboard`, `${id}DeadLettersAlarm`, `${id}OldestPendingAlarm`]))
  })

  test('has no URL anywhere, in which a password might be', () => {
    expect(JSON.stringify(packaged.template)).not.toMatch(/rediss?:\/\/|secret/i)
  })

  describe.each(FUNCTIONS)('for $name', ({ name, id, system, part, parameter, schedule }) => {
    test('runs it on Node.js 24 and arm64, with a timeout for its handlers', () => {
      expect(properties(`${id}LambdaFunction`)).toMatchObject({
        Runtime: 'nodejs24.x',
        Architectures: ['arm64'],
        MemorySize: 512,
        Timeout: TIMEOUTS[system] ?? 55,
        Role: { 'Fn::GetAtt': [`${id}Role`, 'Arn'] },
        VpcConfig: { SubnetIds: { Ref: 'OrdersSubnetIds' }, SecurityGroupIds: { Ref: 'OrdersSecurityGroupIds' } },
      })
    })

    test("puts the name of its Redis URL's parameter into the environment, and what is no secret", () => {
      expect(properties(`${id}LambdaFunction`).Environment.Variables).toEqual({
        NODE_OPTIONS: '--enable-source-maps',
        POWERTOOLS_SERVICE_NAME: 'millrace-orders-dev',
        REDIS_URL_PARAMETER: parameter,
        ...ENVIRONMENTS[system],
        ...ENVIRONMENTS[name],
      })
    })

    test('wakes it by its schedule, without a retry', () => {
      const schedules = Object.values(packaged.template.Resources).filter(
        ({ Type, Properties }) =>
          Type === 'AWS::Scheduler::Schedule' && Properties.Target.Arn['Fn::GetAtt'][0] === `${id}LambdaFunction`,
      )

      expect(schedules).toMatchObject([
        {
          Properties: {
            ScheduleExpression: schedule,
            State: 'ENABLED',
            FlexibleTimeWindow: { Mode: 'OFF' },
            GroupName: { Ref: 'RedisStreamSchedules' },
            Target: {
              RoleArn: { 'Fn::GetAtt': [`${id}ScheduleRole`, 'Arn'] },
              RetryPolicy: { MaximumRetryAttempts: 0, MaximumEventAgeInSeconds: 60 },
              DeadLetterConfig: { Arn: QUEUE_ARN },
            },
          },
        },
      ])
    })

    test('lets its schedule, and no other, invoke this function alone', () => {
      const { AssumeRolePolicyDocument, Policies, ManagedPolicyArns } = properties(`${id}ScheduleRole`)

      expect(AssumeRolePolicyDocument.Statement).toEqual([
        {
          Effect: 'Allow',
          Principal: { Service: 'scheduler.amazonaws.com' },
          Action: 'sts:AssumeRole',
          Condition: {
            StringEquals: {
              'aws:SourceAccount': { Ref: 'AWS::AccountId' },
              'aws:SourceArn': { 'Fn::GetAtt': ['RedisStreamSchedules', 'Arn'] },
            },
          },
        },
      ])
      expect(statementsOf(Policies)).toEqual([
        {
          Sid: 'Wake',
          Effect: 'Allow',
          Action: 'lambda:InvokeFunction',
          Resource: { 'Fn::GetAtt': [`${id}LambdaFunction`, 'Arn'] },
        },
        { Sid: 'ReportFailure', Effect: 'Allow', Action: 'sqs:SendMessage', Resource: QUEUE_ARN },
      ])
      expect(ManagedPolicyArns).toBeUndefined()
    })

    test('keeps Lambda from retrying it', () => {
      expect(properties(`${id}EventInvokeConfig`)).toMatchObject({
        FunctionName: { Ref: `${id}LambdaFunction` },
        Qualifier: '$LATEST',
        MaximumRetryAttempts: 0,
        MaximumEventAgeInSeconds: 60,
      })
    })

    test('keeps its log for 30 days', () => {
      expect(properties(`${id}LogGroup`)).toEqual({
        LogGroupName: `/aws/lambda/millrace-orders-dev-${name}`,
        RetentionInDays: 30,
      })
    })

    test('allows its own log, parameter and VPC; only the poller may invoke itself', () => {
      const { AssumeRolePolicyDocument, Policies, ManagedPolicyArns } = properties(`${id}Role`)
      const { FunctionName, Environment } = properties(`${id}LambdaFunction`)
      const readable = arn('ssm', `parameter${Environment.Variables.REDIS_URL_PARAMETER}`)
      const self = arn('lambda', `function:${FunctionName}`)
      const [log, read, decrypt, describeNetwork, attach, deny, ...others] = statementsOf(Policies)

      expect(AssumeRolePolicyDocument.Statement).toEqual([
        { Effect: 'Allow', Principal: { Service: 'lambda.amazonaws.com' }, Action: 'sts:AssumeRole' },
      ])
      expect([log, read, decrypt]).toMatchObject([
        { Effect: 'Allow', Resource: { 'Fn::GetAtt': [`${id}LogGroup`, 'Arn'] } },
        { Effect: 'Allow', Action: 'ssm:GetParameter', Resource: [readable] },
        {
          Effect: 'Allow',
          Action: 'kms:Decrypt',
          Condition: {
            StringEquals: {
              'kms:ViaService': { 'Fn::Sub': `ssm.\${AWS::Region}.amazonaws.com` },
              'kms:EncryptionContext:PARAMETER_ARN': [readable],
            },
          },
        },
      ])
      expect(deny).toMatchObject({
        Effect: 'Deny',
        Action: [describeNetwork, attach].flatMap((statement) => statement?.Action),
        Resource: '*',
        Condition: { ArnEquals: { 'lambda:SourceFunctionArn': self } },
      })
      expect(others.map(({ Action, Resource }) => [Action, Resource])).toEqual(
        part === 'poller' ? [['lambda:InvokeFunction', [self, arn('lambda', `function:${FunctionName}:*`)]]] : [],
      )
      expect(ManagedPolicyArns).toBeUndefined()
    })
  })

  describe.each(OTHERS)('for $name', ({ name, id, parameter }) => {
    test('allows its own log, parameter and VPC; only the detector may publish alerts', () => {
      const { Role, VpcConfig, Environment, FunctionName } = properties(`${id}LambdaFunction`)
      const [log, read, decrypt, describeNetwork, attach, deny, ...others] = statementsOf(
        properties(`${id}Role`).Policies,
      )

      expect(Role).toEqual({ 'Fn::GetAtt': [`${id}Role`, 'Arn'] })
      expect(VpcConfig.SubnetIds).toEqual({ Ref: 'OrdersSubnetIds' })
      expect(Environment.Variables.REDIS_URL_PARAMETER).toBe(parameter)
      expect([log, read, decrypt]).toMatchObject([
        { Effect: 'Allow', Resource: { 'Fn::GetAtt': [`${id}LogGroup`, 'Arn'] } },
        { Effect: 'Allow', Action: 'ssm:GetParameter', Resource: arn('ssm', `parameter${parameter}`) },
        { Effect: 'Allow', Action: 'kms:Decrypt' },
      ])
      expect(deny).toMatchObject({
        Effect: 'Deny',
        Action: [describeNetwork, attach].flatMap((statement) => statement?.Action),
        Condition: { ArnEquals: { 'lambda:SourceFunctionArn': arn('lambda', `function:${FunctionName}`) } },
      })
      expect(others).toEqual(
        name === 'analyticsDetect'
          ? [{ Effect: 'Allow', Action: 'sns:Publish', Resource: { Ref: 'AlertsTopic' } }]
          : [],
      )
    })
  })

  test('asks those who read to sign in, and wakes the detector every minute', () => {
    expect(properties('AnalyticsReadLambdaFunctionUrl')).toMatchObject({ AuthType: 'AWS_IAM' })
    expect(properties('CheckoutReadLambdaFunctionUrl')).toMatchObject({ AuthType: 'AWS_IAM' })
    expect(properties('WebhooksReadLambdaFunctionUrl')).toMatchObject({ AuthType: 'AWS_IAM' })
    expect(properties('FanOutReadLambdaFunctionUrl')).toMatchObject({ AuthType: 'AWS_IAM' })
    expect(properties('AnalyticsDetectEventsRuleSchedule1')).toMatchObject({ ScheduleExpression: 'rate(1 minute)' })
    expect(properties('AnalyticsDetectLambdaEvConf')).toMatchObject({ MaximumRetryAttempts: 0 })
    expect(properties('AnalyticsDetectLambdaFunction').Environment.Variables.ALERTS_TOPIC_ARN).toEqual({
      Ref: 'AlertsTopic',
    })
  })

  test('allows no action by a wildcard, and any resource only where EC2 knows no narrower one', () => {
    const allowed = Object.values(packaged.template.Resources)
      .flatMap(({ Properties }) => [...statementsOf(Properties?.Policies), ...statementsOf([Properties ?? {}])])
      .filter(({ Effect }) => Effect === 'Allow')

    expect(allowed.flatMap(({ Action }) => Action).filter((action) => action.includes('*'))).toEqual([])
    expect(new Set(allowed.filter(({ Resource }) => Resource === '*').flatMap(({ Action }) => Action))).toEqual(
      new Set(['ec2:DescribeNetworkInterfaces', 'ec2:DescribeSubnets']),
    )
  })

  test('lets the groups of fan-out forward events and write records, and nobody write one over another', () => {
    for (const part of ['Poller', 'Claimer'])
      expect(properties(`FanOut${part}Sinks`)).toMatchObject({
        RoleName: { Ref: `FanOut${part}Role` },
        PolicyDocument: {
          Statement: [
            { Action: 'events:PutEvents', Resource: { 'Fn::GetAtt': ['OrdersBus', 'Arn'] } },
            { Action: 's3:PutObject', Resource: { 'Fn::Sub': `\${OrdersRecord.Arn}/audit/*` } },
          ],
        },
      })
    expect(packaged.template.Resources.OrdersRecord).toMatchObject({ DeletionPolicy: 'Retain' })
    expect(properties('OrdersRecordPolicy').PolicyDocument.Statement).toMatchObject([
      { Effect: 'Deny', Action: 's3:*', Condition: { Bool: { 'aws:SecureTransport': 'false' } } },
      { Effect: 'Deny', Action: 's3:PutObject', Condition: { Null: { 's3:if-none-match': 'true' } } },
    ])
  })

  test('keeps what a schedule could not deliver, encrypted and over TLS alone', () => {
    expect(properties('RedisStreamFailedSchedules')).toMatchObject({ SqsManagedSseEnabled: true })
    expect(properties('RedisStreamFailedSchedulesPolicy').PolicyDocument.Statement).toMatchObject([
      { Effect: 'Deny', Principal: '*', Action: 'sqs:*', Condition: { Bool: { 'aws:SecureTransport': 'false' } } },
    ])
  })
})

describe('the template with infra/redis.yml', () => {
  let withRedis: PackagedFunctions
  const resourcesOf = (type: string) =>
    Object.values(withRedis.template.Resources).filter(({ Type }) => Type === `AWS::ElastiCache::${type}`)

  beforeAll(async () => {
    withRedis = await packageFunctions('infra/redis.yml')
  }, 150_000)

  afterAll(() => withRedis?.remove())

  test('is valid', { timeout: 60_000 }, () => {
    expect(validateTemplate(withRedis.template)).toEqual([])
  })

  test('makes a durable Valkey in cluster mode, encrypted at rest and in transit, without eviction', () => {
    expect(resourcesOf('ReplicationGroup').map(({ Properties }) => Properties)).toMatchObject([
      {
        Engine: 'valkey',
        EngineVersion: expect.stringMatching(/^9\./),
        ClusterMode: 'enabled',
        Durability: 'sync',
        MultiAZEnabled: true,
        NumNodeGroups: 2,
        ReplicasPerNodeGroup: 1,
        TransitEncryptionEnabled: true,
        TransitEncryptionMode: 'required',
        AtRestEncryptionEnabled: true,
        CacheParameterGroupName: { Ref: 'OrdersRedisParameters' },
        UserGroupIds: [{ Ref: 'OrdersRedisUsers' }],
      },
    ])
    expect(withRedis.template.Resources.OrdersRedisParameters?.Properties.Properties).toEqual({
      'cluster-enabled': 'yes',
      'maxmemory-policy': 'noeviction',
    })
  })

  test("has the ACL file's users, who log in by IAM, and a disabled default user", async () => {
    const users = resourcesOf('User').map(({ Properties }) => Properties)
    const expected = [...(await readAclUsers()).values()].map(({ name, flat }) => ({
      Engine: 'redis',
      UserId: `${name}-dev`,
      UserName: `${name}-dev`,
      AccessString: flat.join(' '),
      AuthenticationMode: { Type: 'iam' },
    }))

    expect(users.filter(({ UserName }) => UserName !== 'default')).toEqual(expected)
    expect(users.find(({ UserName }) => UserName === 'default')).toMatchObject({ AccessString: 'off -@all' })
  })

  test.each(ALL)('gives $name its address, without a password', ({ id, parameter }) => {
    const cache = `\${OrdersRedis.ConfigurationEndPoint.Address}:\${OrdersRedis.ConfigurationEndPoint.Port}?cluster&iam=\${OrdersRedis}`

    expect(withRedis.template.Resources[`${id}RedisUrl`]?.Properties).toEqual({
      Name: parameter,
      Type: 'String',
      Value: { 'Fn::Sub': `rediss://\${${redisUserOf(id)}}@${cache}` },
    })
  })

  test.each(ALL)('lets $name connect to it as its own user', ({ id }) => {
    expect(withRedis.template.Resources[`${id}RedisPolicy`]?.Properties).toMatchObject({
      RoleName: { Ref: `${id}Role` },
      PolicyDocument: {
        Statement: [
          {
            Effect: 'Allow',
            Action: 'elasticache:Connect',
            Resource: [
              arn('elasticache', `replicationgroup:\${OrdersRedis}`),
              { 'Fn::GetAtt': [redisUserOf(id), 'Arn'] },
            ],
          },
        ],
      },
    })
  })
})

/** `OrdersRedisPoller` for `OrdersPoller`. */
function redisUserOf(id: string): string {
  return id.replace(/(?=(Poller|Claimer|Janitor|Detect|Read)$)/, 'Redis')
}

test.each(OTHERS)('the artefact of $name is one small ES module', async ({ name, bundle, maxKB }) => {
  const { files, folder } = artefactOf(name)

  expect([...files].sort()).toEqual([bundle, `${bundle}.map`])
  expect((await stat(join(folder, bundle))).size).toBeLessThan(maxKB * 1024)
})

describe.each(FUNCTIONS)('the artefact of $name', ({ name, system, bundle, maxKB }) => {
  test('is one ES module and its source map', () => {
    expect([...artefactOf(name).files].sort()).toEqual([bundle, `${bundle}.map`])
  })

  test('is small', async ({ annotate }) => {
    const { size } = await stat(join(artefactOf(name).folder, bundle))
    await annotate(`${bundle}: ${Math.round(size / 1024)} KB`)

    expect(size).toBeLessThan(maxKB * 1024)
  })

  test('holds the client, the validator, middy, Powertools and ours, and no development dependency', async () => {
    const map = await readFile(join(artefactOf(name).folder, `${bundle}.map`), 'utf8')
    const { sources } = JSON.parse(map) as { sources: string[] }
    const owners = sources.map((source) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(source)?.[1] ?? 'ours')

    expect([...new Set(owners)].sort()).toEqual(
      [
        '@aws-lambda-powertools/commons',
        '@aws-lambda-powertools/logger',
        '@aws-lambda-powertools/metrics',
        '@aws/lambda-invoke-store',
        '@ioredis/commands',
        '@middy/core',
        'cluster-key-slot',
        'denque',
        'ioredis',
        'ours',
        'redis-errors',
        'standard-as-callback',
        ...(name === 'ordersJanitor' ? [] : ['zod']), // it reads no event
        ...(PACKAGES[system] ?? []),
      ].sort(),
    )
  })

  test('has no path of the machine that made it in its code', async () => {
    const code = await readFile(join(artefactOf(name).folder, bundle), 'utf8')

    expect([root, tmpdir()].filter((path) => code.includes(path))).toEqual([])
  })

  test('exports a handler that Lambda can call, and leaves nothing running', async () => {
    const program = `
      const { handler } = await import('./${bundle}')
      console.log(JSON.stringify({ type: typeof handler, takesNoCallback: handler.length <= 2 }))`
    const { stdout } = await runNode(artefactOf(name).folder, program, { REDIS_URL: 'redis://127.0.0.1:1' })

    expect(JSON.parse(stdout)).toEqual({ type: 'function', takesNoCallback: true })
  })
})

describe('the bundles at work, each under its own Redis user', () => {
  let server: PrivateRedis
  let raw: Redis

  beforeAll(async () => {
    server = await startRedisServer()
    raw = new Redis(server.url)
    await createAclUsers(raw)
  })

  afterAll(async () => {
    raw.disconnect()
    await server.stop()
  })

  test('the poller acks what was published', async () => {
    const entryId = await publish('order-1')

    expect(await invoke('ordersPoller', {})).toMatchObject({ read: 1, acked: 1, ackMissed: 0, drained: true })
    expect(await raw.xpending('orders', 'billing')).toEqual([0, null, null, null])
    expect(await raw.xinfo('GROUPS', 'orders')).toEqual([expect.arrayContaining(['billing', entryId])])
    expect(await raw.keys('{orders}:billing:*')).toEqual(['{orders}:billing:state'])
  })

  test('the claimer acks what a dead poller left behind', async () => {
    const entryId = await publish('order-2')
    await raw.xreadgroup('GROUP', 'billing', 'poller-0', 'STREAMS', 'orders', '>')
    await raw.xclaim('orders', 'billing', 'poller-0', 0, entryId, 'IDLE', 60_000, 'JUSTID')

    expect(await invoke('ordersClaimer', {})).toMatchObject({ claimed: 1, acked: 1, ackMissed: 0, drained: true })
    expect(await raw.xpending('orders', 'billing')).toEqual([0, null, null, null])
  })

  test("the poller fetches its URL by the parameter's name, with the SDK of Lambda's runtime", async () => {
    const { REDIS_URL_PARAMETER } = properties('OrdersPollerLambdaFunction').Environment.Variables
    await standInForSdk(artefactOf('ordersPoller').folder, REDIS_URL_PARAMETER, urlOf(server, 'orders-poller'))
    await publish('order-3')

    expect(await invoke('ordersPoller', { REDIS_URL: '', REDIS_URL_PARAMETER })).toMatchObject({ read: 1, acked: 1 })
  })

  test('the activity functions work off all three streams, and what a dead poller left behind', async () => {
    const redis = connectIoredis(urlOf(server, 'activity-publisher'))
    const events = simulateActivity({ seed: 1, run: 'test', users: 10 })
    const published = Array.from({ length: 300 }, () => events.next().value as Simulated)
    await createActivityPublisher(redis)(published)
    await redis.close()
    for (const [group, stream] of Object.entries(GROUPS_OF_ACTIVITY)) {
      await raw.xgroup('CREATE', stream, group, '0')
      await raw.xreadgroup('GROUP', group, 'poller-0', 'COUNT', 5, 'STREAMS', stream, '>')
    }
    const read = await invoke('activityPoller', {})
    for (const [group, stream] of Object.entries(GROUPS_OF_ACTIVITY)) await leaveIdle(stream, group)

    expect(read.read).toBe(300 - 15)
    expect(await invoke('activityClaimer', {})).toMatchObject({ deadLettered: 0, unsettled: 0 })
    expect(await readCounts(raw)).toEqual(countsOf(published))
  })

  test('the checkout functions bring an order to its end, and say so', async () => {
    await raw.hset('{checkout}:stock', 'chair', 2)
    const redis = connectIoredis(urlOf(server, 'checkout-publisher'))
    const shop = createPublisher({ stream: 'checkout', redis, producer: 'shop' })
    const order = { orderId: 'o-1', cents: 700, sku: 'chair', quantity: 1 }
    await shop.publish(OrderPlaced, order, { eventId: 'OrderPlaced:o-1' })
    await redis.close()
    // they listen until their time is up
    await invoke('checkoutPoller', {}, {}, 12_000)
    const invokeRead = async (queryStringParameters: object) => {
      const { body } = await invoke<{ body: string }>('checkoutRead', {}, { queryStringParameters })
      return JSON.parse(body)
    }

    expect(await invoke('checkoutClaimer', {}, {}, 12_000)).toMatchObject({ deadLettered: 0, unsettled: 0 })
    expect(await invokeRead({ orderId: 'o-1' })).toMatchObject({ order: 'shipped', payment: 'paid', openSince: null })
    expect(await invokeRead({})).toMatchObject({
      open: { count: 0 },
      ended: { 'OrderFulfilled:orders': '1' },
      deadLetters: { order: 0 },
    })
  })

  test('the webhooks functions deliver, send again, disable, and say so', async () => {
    const merchants = await startMerchants(({ merchantId, attempt }) => {
      if (merchantId === 'gone') return 410
      return attempt === 1 ? { status: 429, headers: { 'retry-after': '1' } } : 200
    })
    onTestFinished(() => merchants.close())
    const registrar = new Redis(urlOf(server, 'webhooks-registrar'), {
      enableReadyCheck: false,
      disableClientInfo: true,
    })
    for (const name of ['busy', 'gone'])
      await registrar.hset(`{webhooks}:endpoint:${name}`, { url: merchants.urlOf(name), secrets: SECRET })
    registrar.disconnect()
    const redis = connectIoredis(urlOf(server, 'webhooks-publisher'))
    const shop = createPublisher({ stream: 'webhooks', redis, producer: 'shop', retentionMs: 259_200_000 })
    for (const merchantId of ['busy', 'gone', 'gone', 'nobody'])
      await shop.publish(WebhookDue, { merchantId, type: 'order.paid', data: {} }, { aggregateId: merchantId })
    await redis.close()
    const environment = { WEBHOOKS_ALLOWED: '127.0.0.1', WEBHOOKS_TIMEOUT_MS: '1000' }
    const invokeRead = async (queryStringParameters: object) => {
      const { body } = await invoke<{ body: string }>('webhooksRead', {}, { queryStringParameters })
      return JSON.parse(body)
    }
    // they listen until their time is up
    await invoke('webhooksPoller', environment, {}, 10_000)

    expect(await invoke('webhooksClaimer', environment, {}, 10_000)).toMatchObject({ unsettled: 0 })
    expect(merchants.done).toEqual(new Map([['busy', [expect.any(String)]]]))
    expect(await invokeRead({})).toEqual({
      pending: { count: 0, byMerchant: {} },
      unread: { byMerchant: {} },
      deadLetters: { count: 1, byMerchant: { nobody: 1 } },
      paused: {},
    })
    expect((await invokeRead({ merchantId: 'busy' })).days[0]).toMatchObject({ answers: { 200: 1, 429: 1 } })
  })

  test('the fan-out functions have each group do its part, and say how far it is', async () => {
    const redis = connectIoredis(urlOf(server, 'fan-out-publisher'))
    const shop = createPublisher({ stream: 'shop-orders', redis, producer: 'shop' })
    const order = drawOrder(1, createRandom(1))
    await shop.publishMany(order.map(({ publication }) => publication))
    await redis.close()
    await raw.set('{shop-orders}:page:o-1', 'page')
    // some listen until their time is up; without a bus, a bucket and a warehouse nobody is asked
    const report = await invoke('fanOutPoller', {}, {}, 14_000)
    expect(await invoke('fanOutClaimer', {}, {}, 14_000)).toMatchObject({ deadLettered: 0, unsettled: 0 })
    const invokeRead = async (queryStringParameters: object) => {
      const { body } = await invoke<{ body: string }>('fanOutRead', {}, { queryStringParameters })
      return JSON.parse(body)
    }

    expect(report.read).toBe(6 * order.length)
    expect(await raw.exists('{shop-orders}:page:o-1')).toBe(0)
    expect((await invokeRead({})).groups).toMatchObject(Array.from({ length: 6 }, () => ({ lag: 0, isMet: true })))
    const customerId = order[0]?.payload.customerId
    expect(await invokeRead({ customerId })).toEqual({ orders: [{ orderId: 'o-1', state: expect.any(String) }] })
  })

  /** As if nobody had done anything with what is pending for an hour. */
  async function leaveIdle(stream: string, group: string): Promise<void> {
    const rows = (await raw.xpending(stream, group, '-', '+', 100)) as [id: string, owner: string][]
    for (const [id, owner] of rows)
      if (owner !== 'parked') await raw.xclaim(stream, group, owner, 0, id, 'IDLE', 3_600_000, 'JUSTID')
  }

  async function publish(orderId: string): Promise<string> {
    const redis = connectIoredis(urlOf(server, 'orders-publisher'))
    const orders = createPublisher({ stream: 'orders', redis, producer: 'shop' })
    const { entryId } = await orders.publish(OrderPaid, { orderId, amount: '12.50', currency: 'EUR' })
    await redis.close()
    return entryId
  }

  /** One invocation in a process of its own. Lambda would freeze it with its connection open; here it exits. */
  async function invoke<Answer = Report>(
    name: string,
    env: Record<string, string>,
    event = {},
    remainingMs = 55_000,
  ): Promise<Answer> {
    const { bundle, user } = ALL.find((fn) => fn.name === name) as (typeof ALL)[number]
    const program = `
      const { handler } = await import('./${bundle}')
      const deadline = Date.now() + ${remainingMs}
      const report = await handler(${JSON.stringify(event)}, {
        functionName: 'millrace-orders-dev-${name}',
        awsRequestId: 'request-1',
        callbackWaitsForEmptyEventLoop: true,
        getRemainingTimeInMillis: () => deadline - Date.now(),
      })
      process.stdout.write(JSON.stringify(report), () => process.exit())`
    const { stdout } = await runNode(artefactOf(name).folder, program, {
      NODE_OPTIONS: '--enable-source-maps',
      ORDERS_STREAM: 'orders',
      REDIS_URL: urlOf(server, user),
      ...env,
    })
    // the metrics and the log come before it
    return JSON.parse(stdout.split('\n').at(-1) as string) as Answer
  }
})

// biome-ignore lint/suspicious/noExplicitAny: as many shapes as there are types of resources
function properties(id: string): any {
  return packaged.template.Resources[id]?.Properties
}

function artefactOf(name: string) {
  return packaged.artefacts[name] as PackagedFunctions['artefacts'][string]
}

/** A resource of the account and region that the stack is in. */
function arn(service: string, resource: string) {
  return { 'Fn::Sub': `arn:\${AWS::Partition}:${service}:\${AWS::Region}:\${AWS::AccountId}:${resource}` }
}

interface Statement {
  readonly Effect: string
  readonly Action: string | readonly string[]
  readonly Resource?: unknown
}

function statementsOf(policies: readonly { PolicyDocument?: { Statement: Statement[] } }[] = []): Statement[] {
  return policies.flatMap(({ PolicyDocument }) => PolicyDocument?.Statement ?? [])
}

/** Runs a program where nothing of this repository is found but the artefact itself. */
function runNode(cwd: string, program: string, env: Record<string, string>) {
  return run(process.execPath, ['--input-type=module', '--eval', program], { cwd, env, timeout: 20_000 })
}

/** Puts an SSM client beside the bundle, as Lambda's runtime has one: it knows one parameter. */
async function standInForSdk(folder: string, parameter: string, value: string): Promise<void> {
  const sdk = join(folder, 'node_modules/@aws-sdk/client-ssm')
  await mkdir(sdk, { recursive: true })
  await writeFile(join(sdk, 'package.json'), JSON.stringify({ type: 'module', exports: './index.js' }))
  await writeFile(
    join(sdk, 'index.js'),
    `export class GetParameterCommand {
      constructor(input) { this.input = input }
    }
    export class SSMClient {
      async send({ input }) {
        const isAsked = input.Name === ${JSON.stringify(parameter)} && input.WithDecryption === true
        return { Parameter: { Value: isAsked ? ${JSON.stringify(value)} : undefined } }
      }
      destroy() {}
    }`,
  )
}
