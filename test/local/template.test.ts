// biome-ignore-all lint/suspicious/noTemplateCurlyInString: placeholders of Fn::Sub look like JavaScript's
import { expect, test } from 'vitest'
import { resolveIntrinsics } from '../../src/local/intrinsics.ts'
import { readTemplate } from '../../src/local/template.ts'
import type { PackagedTemplate } from '../../src/local/template-resources.ts'

const NAMES = { region: 'eu-west-1', accountId: '000000000000', stackName: 'shop-dev' }

const POLLER = {
  Type: 'AWS::Lambda::Function',
  Properties: {
    FunctionName: { 'Fn::Sub': '${AWS::StackName}-poller' },
    Handler: 'poller.handler',
    Runtime: 'nodejs24.x',
    Code: { S3Bucket: { Ref: 'Bucket' }, S3Key: 'serverless/shop/dev/1/poller.zip' },
    Timeout: 55,
    MemorySize: 512,
    ReservedConcurrentExecutions: 4,
    Environment: {
      Variables: {
        PLAIN: 'as it is',
        NUMBER: 7,
        REGION: { Ref: 'AWS::Region' },
        SELF: { 'Fn::GetAtt': ['Poller', 'Arn'] },
        STAGE: { Ref: 'Stage' },
        SECRET: '{{resolve:ssm:/shop/secret}}',
        TABLE: { Ref: 'Table' },
        SUBNETS: { Ref: 'Subnets' },
      },
    },
  },
}

const SCHEDULE = {
  Type: 'AWS::Scheduler::Schedule',
  Properties: {
    ScheduleExpression: 'rate(1 minute)',
    State: 'ENABLED',
    Target: { Arn: { 'Fn::GetAtt': ['Poller', 'Arn'] }, RoleArn: { 'Fn::GetAtt': ['Role', 'Arn'] } },
  },
}

function aTemplate(resources: PackagedTemplate['Resources']): PackagedTemplate {
  return {
    Parameters: {
      Stage: { Type: 'String', Default: 'dev' },
      Subnets: { Type: 'AWS::SSM::Parameter::Value<List<String>>', Default: '/shop/subnets' },
    },
    Resources: { Poller: POLLER, ...resources },
  }
}

test('a function is read with its limits, and with the variables that can be resolved', () => {
  const invokeConfig = {
    Type: 'AWS::Lambda::EventInvokeConfig',
    Properties: { FunctionName: { Ref: 'Poller' }, MaximumRetryAttempts: 0, MaximumEventAgeInSeconds: 60 },
  }

  expect(readTemplate(aTemplate({ Config: invokeConfig }), NAMES).functions).toEqual([
    {
      logicalId: 'Poller',
      zip: 'poller.zip',
      name: 'shop-dev-poller',
      handler: 'poller.handler',
      timeoutMs: 55_000,
      memoryMb: 512,
      reservedConcurrency: 4,
      maxRetryAttempts: 0,
      maxEventAgeMs: 60_000,
      environment: {
        PLAIN: 'as it is',
        NUMBER: '7',
        REGION: 'eu-west-1',
        SELF: 'arn:aws:lambda:eu-west-1:000000000000:function:shop-dev-poller',
        STAGE: 'dev',
      },
    },
  ])
})

test('a function says nothing of limits that the template leaves to AWS', () => {
  const {
    FunctionName: _,
    Timeout: _t,
    MemorySize: _m,
    ReservedConcurrentExecutions: _r,
    Environment: _e,
    ...bare
  } = POLLER.Properties
  const { functions } = readTemplate({ Resources: { Bare: { Type: POLLER.Type, Properties: bare } } }, NAMES)

  expect(functions).toEqual([
    { logicalId: 'Bare', zip: 'poller.zip', name: 'Bare', handler: 'poller.handler', environment: {} },
  ])
})

test('schedules are read with what they wake, from Scheduler and from rules', () => {
  const rule = {
    Type: 'AWS::Events::Rule',
    Properties: {
      Name: 'nightly',
      ScheduleExpression: 'rate(1 day)',
      State: 'DISABLED',
      Targets: [{ Arn: { 'Fn::GetAtt': ['Poller', 'Arn'] }, Id: 'poller', Input: '{"slot":1}' }],
    },
  }
  const event = { Type: 'AWS::Events::Rule', Properties: { EventPattern: {} } }

  expect(readTemplate(aTemplate({ Tick: SCHEDULE, Nightly: rule, Event: event }), NAMES).schedules).toEqual([
    { name: 'Tick', expression: 'rate(1 minute)', enabled: true, functionName: 'shop-dev-poller' },
    {
      name: 'nightly',
      expression: 'rate(1 day)',
      enabled: false,
      functionName: 'shop-dev-poller',
      input: '{"slot":1}',
    },
  ])
})

test('resources that do not run locally are reported', () => {
  const python = { ...POLLER, Properties: { ...POLLER.Properties, FunctionName: 'py', Runtime: 'python3.13' } }
  const cron = { ...SCHEDULE, Properties: { ...SCHEDULE.Properties, ScheduleExpression: 'cron(0 12 * * ? *)' } }

  const { functions, schedules, skipped } = readTemplate(aTemplate({ Python: python, Noon: cron }), NAMES)

  expect([functions.length, schedules.length]).toEqual([1, 0])
  expect(skipped).toEqual([
    'Function py is not run locally: only zip packages for Node.js are',
    'Schedule Noon is not run locally: cron(0 12 * * ? *) is not a rate',
  ])
})

test.each<[string, unknown, unknown]>([
  ['Ref', { Ref: 'Stage' }, 'dev'],
  ['Ref of a resource', { Ref: 'Table' }, undefined],
  ['GetAtt with a dot', { 'Fn::GetAtt': 'Fn.Arn' }, 'arn'],
  ['Join', { 'Fn::Join': ['-', ['a', { Ref: 'Stage' }]] }, 'a-dev'],
  ['Join with a hole', { 'Fn::Join': ['-', ['a', { Ref: 'Table' }]] }, undefined],
  [
    'Sub with its own variables',
    { 'Fn::Sub': ['${Stage}/${own}/${!kept}', { own: { Ref: 'Stage' } }] },
    'dev/dev/${kept}',
  ],
  ['Sub of an attribute', { 'Fn::Sub': '${Fn.Arn}:1' }, 'arn:1'],
  ['Sub with a hole', { 'Fn::Sub': '${Table}' }, undefined],
  ['an intrinsic that is not known', { 'Fn::ImportValue': 'x' }, undefined],
  ['members that cannot be resolved', { a: 1, b: { Ref: 'Table' }, c: [null, false] }, { a: 1, c: [null, false] }],
])('%s', (_case, value, expected) => {
  const scope = { refs: new Map([['Stage', 'dev']]), attributes: new Map([['Fn.Arn', 'arn']]) }

  expect(resolveIntrinsics(value, scope)).toEqual(expected)
})
