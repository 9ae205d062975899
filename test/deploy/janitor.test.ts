import { App, CfnResource, Duration, Stack } from 'aws-cdk-lib'
import { Template } from 'aws-cdk-lib/assertions'
import { Code, Function as DeployedFunction, Runtime } from 'aws-cdk-lib/aws-lambda'
import { Bucket } from 'aws-cdk-lib/aws-s3'
import { RedisStreamJanitor } from 'millrace/cdk'
import { describe, expect, it } from 'vitest'
import { encodeJanitorOverrides, resolveJanitorEvent } from '../../src/deploy/janitor-event.ts'
import { createJanitorResources } from '../../src/deploy/janitor-resources.ts'
import { janitorIamStatements } from '../../src/deploy/permissions.ts'
import { logicalIdReferences } from '../../src/deploy/resources.ts'
import { readServiceJanitors } from '../../src/deploy/serverless/service-janitors.ts'

const GROUPS = { billing: { owner: 'team', objective: { maxLag: 10 } } }
const FN = { id: 'OrdersJanitor', name: { Ref: 'Fn' }, arn: { 'Fn::GetAtt': ['Fn', 'Arn'] } }
const resolve = (options: object = {}) => resolveJanitorEvent('test', { stream: 'orders', ...options })
const described = (options: object = {}) =>
  createJanitorResources(resolve(options), {
    id: 'OrdersJanitor',
    service: 'shop',
    janitor: FN,
    references: logicalIdReferences,
  })

describe('a janitor’s deployment', () => {
  it('says its streams and groups in the environment', () => {
    const settings = resolve({ maxLength: 5, groups: GROUPS, ignoreGroups: 'console' })

    expect(JSON.parse(encodeJanitorOverrides('test', [settings, resolve()]) ?? '')).toEqual([
      { stream: 'orders', maxLength: 5, groups: GROUPS, ignoreGroups: ['console'] },
    ])
    expect(encodeJanitorOverrides('test', [resolve()])).toBeUndefined()
  })

  it('wakes it every five minutes, and has three alarms', () => {
    const resources = described({
      alarms: { topic: 'arn:aws:sns:eu-west-1:123456789012:on-call', maxBlockedMs: 7_200_000 },
    })

    expect(resources.find(({ id }) => id === 'OrdersJanitorSchedule')?.properties).toMatchObject({
      ScheduleExpression: 'rate(5 minutes)',
      State: 'ENABLED',
    })
    const alarms = resources.filter(({ type }) => type === 'AWS::CloudWatch::Alarm')
    expect(
      alarms.map(({ id, properties }) => [
        id,
        properties.MetricName,
        properties.Threshold,
        properties.TreatMissingData,
      ]),
    ).toEqual([
      ['OrdersJanitorTrimmedAheadAlarm', 'TrimmedAheadCount', 0, 'notBreaching'],
      ['OrdersJanitorBlockedAlarm', 'BlockedDuration', 7_200_000, 'breaching'],
      ['OrdersJanitorFailingAlarm', 'Errors', 0, 'notBreaching'],
    ])
    expect(alarms[0]?.properties).toMatchObject({
      Namespace: 'Millrace',
      Dimensions: [
        { Name: 'service', Value: 'shop' },
        { Name: 'EventSource', Value: 'orders' },
      ],
      AlarmActions: ['arn:aws:sns:eu-west-1:123456789012:on-call'],
    })
    expect(described({ alarms: false }).some(({ type }) => type === 'AWS::CloudWatch::Alarm')).toBe(false)
  })

  it('lets the function put objects into its archive, and do nothing else with it', () => {
    const fn = { arn: 'a', versionsArn: 'a:*', logGroupArn: 'log', inVpc: false }
    const statements = janitorIamStatements(resolve({ archiveBucket: { Ref: 'Archive' }, parameters: '/a' }), fn)

    expect(statements.map(({ Sid, Action, Resource }) => [Sid, Action, Resource])).toEqual([
      ['WriteLog', ['logs:CreateLogStream', 'logs:PutLogEvents'], 'log'],
      ['ReadParameters', 'ssm:GetParameter', expect.anything()],
      ['DecryptParameters', 'kms:Decrypt', expect.anything()],
      [
        'WriteArchive',
        's3:PutObject',
        { 'Fn::Sub': [`arn:\${AWS::Partition}:s3:::\${ArchiveBucket}/*`, { ArchiveBucket: { Ref: 'Archive' } }] },
      ],
    ])
  })

  it.each([
    [{ maxLength: -1 }, 'maxLength must be >= 0'],
    [{ retentionMs: 0 }, 'retentionMs must be >= 1'],
    [{ groups: { billing: {} } }, 'groups.billing.owner must be a string'],
    [{ groups: { billing: { owner: 'a', objective: { lag: 1 } } } }, 'unknown option "lag"'],
    [{ groups: GROUPS, ignoreGroups: ['billing'] }, 'must not be in both groups and ignoreGroups'],
    [{ schedule: 'often' }, 'schedule must be rate(…)'],
    [{ alarms: { maxBlockedMs: 1 } }, 'alarms.maxBlockedMs must be >= 60000'],
    [{ stream: '}' }, 'stream must be printable ASCII'],
    [{ beforeId: '1-0' }, 'unknown option "beforeId"'],
  ])('refuses %j', (options, message) => {
    expect(() => resolve(options)).toThrow(message)
  })

  it('refuses more than an environment has room for', () => {
    const groups = Object.fromEntries(Array.from({ length: 60 }, (_, n) => [`group-${n}`, { owner: 'o'.repeat(50) }]))

    expect(() => encodeJanitorOverrides('test', [resolve({ groups })])).toThrow('3000 characters or fewer')
  })
})

describe('redisJanitor events', () => {
  const event = (options: object) => ({ redisJanitor: { stream: 'orders', ...options } })

  it('of a function are its streams', () => {
    const functions = { janitor: { events: [event({}), event({ stream: 'returns', maxLength: 3 })] }, other: {} }

    expect(readServiceJanitors(functions)).toMatchObject([
      {
        name: 'janitor',
        streams: [{ stream: 'orders' }, { stream: 'returns' }],
        overrides: '[{"stream":"returns","maxLength":3}]',
      },
    ])
  })

  it.each([
    [[event({}), event({})], 'a stream must have one janitor, got "orders" here and in functions.janitor.events.0'],
    [[event({}), event({ stream: 'b', enabled: false })], 'enabled must be the same for all streams of a janitor'],
    [[event({ maxLength: 'many' })], 'Cannot use functions.janitor.events.0.redisJanitor: maxLength must be a number'],
  ])('are refused where they do not fit: %#', (events, message) => {
    expect(() => readServiceJanitors({ janitor: { events } })).toThrow(message)
  })
})

describe('RedisStreamJanitor', () => {
  const makeStack = () =>
    new Stack(new App({ context: { '@aws-cdk/core:validateAgainstDefaultRules': false } }), 'Shop')
  const makeFunction = (stack: Stack) =>
    new DeployedFunction(stack, 'OrdersJanitor', {
      handler: 'index.handler',
      runtime: Runtime.NODEJS_24_X,
      code: Code.fromInline('exports.handler = () => {}'),
    })

  it('makes what the plugin makes, and grants the same', () => {
    const stack = makeStack()
    const janitor = makeFunction(stack)
    const archiveBucket = Bucket.fromBucketName(stack, 'Archive', 'shop-archive')
    const props = { stream: 'orders', retention: Duration.days(7), groups: GROUPS, archiveBucket }
    const construct = new RedisStreamJanitor(stack, 'Janitor', { janitor, ...props })
    const template = Template.fromStack(stack)

    template.hasResourceProperties('AWS::Lambda::Function', {
      Environment: {
        Variables: {
          MILLRACE_JANITOR: JSON.stringify([{ stream: 'orders', retentionMs: 604_800_000, groups: GROUPS }]),
          POWERTOOLS_SERVICE_NAME: 'Shop',
        },
      },
    })
    const types = stack.node
      .findAll()
      .filter(CfnResource.isCfnResource)
      .map(({ cfnResourceType }) => cfnResourceType)
    for (const { type } of described()) expect(types).toContain(type)
    expect(types.filter((type) => type === 'AWS::CloudWatch::Alarm')).toHaveLength(3)
    expect(Object.keys(construct.alarms)).toEqual(['trimmedAhead', 'blocked', 'failing'])
    expect(JSON.stringify(template.findResources('AWS::IAM::Policy'))).toContain('s3:PutObject')
  })

  it('says of several streams in one environment, and refuses one twice', () => {
    const stack = makeStack()
    const janitor = makeFunction(stack)
    new RedisStreamJanitor(stack, 'A', { janitor, stream: 'orders', maxLength: 1 })
    new RedisStreamJanitor(stack, 'B', { janitor, stream: 'returns', maxLength: 2, alarms: false })

    Template.fromStack(stack).hasResourceProperties('AWS::Lambda::Function', {
      Environment: {
        Variables: { MILLRACE_JANITOR: '[{"stream":"orders","maxLength":1},{"stream":"returns","maxLength":2}]' },
      },
    })
    expect(() => new RedisStreamJanitor(stack, 'C', { janitor, stream: 'orders' })).toThrow(
      'stream cannot be given twice',
    )
    expect(() => new RedisStreamJanitor(stack, 'D', { janitor, stream: 'x', retention: Duration.millis(0) })).toThrow(
      'retention in milliseconds cannot be under 1',
    )
  })
})
