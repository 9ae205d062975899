import { createRequire } from 'node:module'
import RedisStreamPlugin from 'millrace/serverless'
import { beforeAll, describe, expect, test } from 'vitest'
import { arnReference } from '../../../src/deploy/resources.ts'
import { type PackagedService, packageService, type Resource } from '../../infra/osls.ts'
import { validateTemplate } from '../../support/validate-template.ts'

const PATIENCE_MS = 60_000
const QUEUE = 'arn:aws:sqs:eu-central-1:123456789012:failed'
const ROLE = 'arn:aws:iam::123456789012:role/mine'

const billing = { stream: 'orders', group: 'billing', claimer: 'claimer' }

/** A function with these events, and options of its own. */
function aFunction(events: readonly object[] = [], options: object = {}) {
  return { handler: 'noop.handler', events: events.map((redisStream) => ({ redisStream })), ...options }
}

describe('a service of several consumers', () => {
  let packaged: PackagedService

  beforeAll(async () => {
    const shared = { claimer: 'claimer', pollers: 2, parameters: { poller: '/shop/url' } }
    const functions = {
      // two consumers share a pair
      poller: aFunction([
        { ...billing, ...shared, batchSize: 10, mode: 'once' },
        { stream: 'orders', group: 'search', ...shared, batchSize: 500, filterPatterns: [{ type: ['OrderPaid'] }] },
      ]),
      claimer: aFunction(),
      // one has a pair of its own, with much of it set by the user
      'returns-poller': aFunction(
        [
          {
            stream: 'returns',
            group: 'billing',
            claimer: 'returnsClaimer',
            reservedConcurrency: { poller: 5, claimer: 2 },
            logRetentionInDays: 90,
            failedSchedules: QUEUE,
          },
        ],
        {
          vpc: { subnetIds: ['subnet-0123456789abcdef0'], securityGroupIds: ['sg-0123456789abcdef0'] },
          tracing: 'Active',
          destinations: { onFailure: QUEUE },
          reservedConcurrency: 3,
        },
      ),
      returnsClaimer: aFunction([], {
        role: ROLE,
        logRetentionInDays: 7,
        environment: { LEVEL: 'high' },
      }),
      bystander: aFunction(),
    }
    packaged = await packageService(functions)
  }, PATIENCE_MS)

  const resource = (id: string) => packaged.template.Resources[id] as Resource
  const idsOf = (type: string) =>
    Object.entries(packaged.template.Resources)
      .filter(([, { Type }]) => Type === type)
      .map(([id]) => id)
  const variablesOf = (id: string) => resource(`${id}LambdaFunction`).Properties.Environment?.Variables

  test('gives a template that is valid', () => {
    // W9013: the user's own role is named by its ARN
    expect(validateTemplate(packaged.template)).toEqual(['WARN W9013 ReturnsClaimerLambdaFunction'])
  })

  test('has one role, one set of schedules and one limit of retries a function', () => {
    expect(idsOf('AWS::IAM::Role').toSorted()).toEqual([
      'ClaimerRole',
      'ClaimerScheduleRole',
      'IamRoleLambdaExecution', // the bystander's, as ever
      'PollerRole',
      'PollerScheduleRole',
      'ReturnsClaimerScheduleRole',
      'ReturnsDashpollerRole',
      'ReturnsDashpollerScheduleRole',
    ])
    expect(idsOf('AWS::Scheduler::Schedule').toSorted()).toEqual([
      'ClaimerSchedule',
      'PollerSchedule',
      'PollerSchedule2',
      'ReturnsClaimerSchedule',
      'ReturnsDashpollerSchedule',
    ])
    expect(idsOf('AWS::Lambda::EventInvokeConfig').toSorted()).toEqual([
      'ClaimerEventInvokeConfig',
      'PollerEventInvokeConfig',
      'ReturnsClaimerEventInvokeConfig',
      'ReturnsDashpollerLambdaEvConf',
    ])
    expect(idsOf('AWS::Scheduler::ScheduleGroup')).toEqual(['RedisStreamSchedules'])
  })

  test('passes poller and claimer what overrides the code of each of their consumers', () => {
    for (const id of ['Poller', 'Claimer'])
      expect(JSON.parse(variablesOf(id).MILLRACE_EVENT_SOURCE)).toEqual([
        { stream: 'orders', group: 'billing', batchSize: 10, mode: 'once' },
        { stream: 'orders', group: 'search', batchSize: 500, filterPatterns: [{ type: ['OrderPaid'] }] },
      ])
    expect(variablesOf('ReturnsDashpoller')).toEqual({ POWERTOOLS_SERVICE_NAME: 'shop-dev' })
  })

  test('keeps what a function was given: role, log retention, concurrency, environment', () => {
    expect(resource('ReturnsClaimerLambdaFunction').Properties).toMatchObject({
      Role: ROLE,
      ReservedConcurrentExecutions: 2,
      Environment: { Variables: { LEVEL: 'high', POWERTOOLS_SERVICE_NAME: 'shop-dev' } },
    })
    expect(resource('ReturnsClaimerLogGroup').Properties.RetentionInDays).toBe(7)
    expect(resource('ReturnsDashpollerLogGroup').Properties.RetentionInDays).toBe(90)
    expect(resource('ReturnsDashpollerLambdaFunction').Properties.ReservedConcurrentExecutions).toBe(3)
    expect(resource('PollerLogGroup').Properties.RetentionInDays).toBe(30)
  })

  test("limits retries where a destination's configuration is there already", () => {
    expect(resource('ReturnsDashpollerLambdaEvConf').Properties).toEqual({
      FunctionName: { Ref: 'ReturnsDashpollerLambdaFunction' },
      Qualifier: '$LATEST',
      MaximumRetryAttempts: 0,
      MaximumEventAgeInSeconds: 60,
      DestinationConfig: { OnFailure: { Destination: QUEUE } },
    })
  })

  test("gives only the function's own role what its VPC and its traces need", () => {
    const sidsOf = (id: string) =>
      resource(id).Properties.Policies[0].PolicyDocument.Statement.map(({ Sid }: { Sid: string }) => Sid)

    expect(sidsOf('ReturnsDashpollerRole')).toEqual([
      'WriteLog',
      'DescribeNetwork',
      'AttachNetwork',
      'DenyNetworkToCode',
      'Trace',
      'InvokeItself',
      undefined, // its destination
    ])
    expect(sidsOf('PollerRole')).toEqual(['WriteLog', 'ReadParameters', 'DecryptParameters', 'InvokeItself'])
    expect(sidsOf('ClaimerRole')).toEqual(['WriteLog'])
  })

  test('leaves a function alone that is no consumer', () => {
    expect(resource('BystanderLambdaFunction').Properties).toMatchObject({
      Role: { 'Fn::GetAtt': ['IamRoleLambdaExecution', 'Arn'] },
    })
    expect(variablesOf('Bystander')).toBeUndefined()
  })
})

describe('a service with options of its own for roles and logs', () => {
  const KEY = 'arn:aws:kms:eu-central-1:123456789012:key/1'
  const BOUNDARY = 'arn:aws:iam::123456789012:policy/boundary'
  const READ = { Sid: 'WriteLog', Effect: 'Allow', Action: ['s3:GetObject'], Resource: 'arn:aws:s3:::shop/*' }
  const functions = {
    poller: aFunction([billing], {
      kmsKeyArn: KEY,
      onError: 'arn:aws:sns:eu-central-1:123456789012:failed',
      destinations: { onFailure: QUEUE, onSuccess: 'bystander' },
      logs: { logGroup: '/shop/mine' },
    }),
    claimer: aFunction([], { onError: { 'Fn::GetAtt': ['Failed', 'Arn'] } }),
    bystander: aFunction(),
  }
  const role = {
    path: '/shop/',
    permissionsBoundary: BOUNDARY,
    managedPolicies: ['arn:aws:iam::aws:policy/CloudWatchLambdaInsightsExecutionRolePolicy'],
    tags: { team: 'shop' },
    statements: [READ],
  }
  const provider = { name: 'aws', runtime: 'nodejs24.x', versionFunctions: false, iam: { role } }
  const resources = { Resources: { Failed: { Type: 'AWS::SQS::Queue' } } }
  let packaged: PackagedService

  beforeAll(async () => {
    packaged = await packageService(functions, {
      provider: { ...provider, logs: { lambda: { logGroup: '/shop/all', logFormat: 'JSON' } } },
      resources,
    })
  }, PATIENCE_MS)

  const propertiesOf = (id: string) => (packaged.template.Resources[id] as Resource).Properties
  const statementsOf = (id: string) => propertiesOf(id).Policies[0].PolicyDocument.Statement

  test('gives a template that is valid', () => {
    // what is named by its ARN, as here, is advised against
    expect(validateTemplate(packaged.template).filter((finding) => !/^WARN W90(02|13) /.test(finding))).toEqual([])
  })

  test.each(['PollerRole', 'ClaimerRole'])("gives %s what the provider's has", (id) => {
    const { Path, PermissionsBoundary, ManagedPolicyArns, Tags } = propertiesOf('IamRoleLambdaExecution')

    expect(propertiesOf(id)).toMatchObject({ Path, PermissionsBoundary, ManagedPolicyArns, Tags })
    expect({ Path, PermissionsBoundary }).toEqual({ Path: '/shop/', PermissionsBoundary: BOUNDARY })
    expect(propertiesOf(id).Policies[1]).toEqual({
      PolicyName: 'provider',
      PolicyDocument: { Version: '2012-10-17', Statement: [READ] },
    })
  })

  test('lets Lambda do in the name of a function what its options ask for', () => {
    const allowed = (id: string) =>
      statementsOf(id)
        .filter(({ Sid }: { Sid?: string }) => Sid === undefined)
        .map(({ Action, Resource }: { Action: unknown; Resource: unknown }) => [Action, Resource])

    expect(allowed('PollerRole')).toEqual([
      [['sns:Publish'], 'arn:aws:sns:eu-central-1:123456789012:failed'],
      [['kms:Decrypt'], KEY],
      [['lambda:InvokeFunction'], arnReference('lambda', 'function:shop-dev-bystander')],
      [['sqs:SendMessage'], QUEUE],
    ])
    expect(allowed('ClaimerRole')).toEqual([[['sns:Publish', 'sqs:SendMessage'], { 'Fn::GetAtt': ['Failed', 'Arn'] }]])
  })

  test('lets functions write to the log group that they name', () => {
    expect(statementsOf('PollerRole')[0].Resource).toEqual(arnReference('logs', 'log-group:/shop/mine:*'))
    expect(statementsOf('ClaimerRole')[0].Resource).toEqual(arnReference('logs', 'log-group:/shop/all:*'))
  })
})

describe('functions with a condition', () => {
  test('have all that is theirs under the same condition', { timeout: PATIENCE_MS }, async () => {
    const condition = 'Live'
    const functions = { poller: aFunction([billing], { condition }), claimer: aFunction([], { condition }) }
    const { template } = await packageService(functions, {
      resources: { Conditions: { Live: { 'Fn::Equals': [{ Ref: 'AWS::Region' }, 'eu-central-1'] } } },
    })

    const always = Object.values(template.Resources).filter((resource) => !('Condition' in resource))
    expect(always.map(({ Type }) => Type).filter((type) => !type.startsWith('AWS::S3::'))).toEqual([
      'AWS::Scheduler::ScheduleGroup',
      'AWS::SQS::Queue',
      'AWS::SQS::QueuePolicy',
    ])
    expect(validateTemplate(template)).toEqual([])
  })

  test('must share it', { timeout: PATIENCE_MS }, async () => {
    const functions = { poller: aFunction([billing], { condition: 'Live' }), claimer: aFunction() }

    expect(await refusalOf(functions)).toContain(
      'Cannot deploy functions "poller" and "claimer": condition must be the same in both, got "Live" and none',
    )
  })
})

describe('a wrong event', () => {
  test('is refused by the schema, each value with the path where it stands', { timeout: PATIENCE_MS }, async () => {
    const poller = aFunction([
      {
        stream: '',
        claimer: 'claimer',
        schedule: '1 minute',
        pollers: 0,
        batchSize: 20_000,
        batchsize: 5,
        mode: 'tail',
        logRetentionInDays: 2,
        reservedConcurrency: { publisher: 1 },
        parameters: { poller: ['rediss://redis.example'] },
        failedSchedules: 'queue',
        alarms: { topic: { Reff: 'Alarms' }, maxLag: -1 },
      },
    ])
    const output = await refusalOf({ poller, claimer: aFunction() })
    const at = "at 'functions.poller.events.0.redisStream"

    for (const line of [
      `${at}': must have required property 'group'`,
      `${at}': unrecognized property 'batchsize'`,
      `${at}.stream': must NOT have fewer than 1 characters`,
      `${at}.schedule': must match pattern`,
      `${at}.pollers': must be >= 1`,
      `${at}.batchSize': must be <= 10000`,
      `${at}.mode': must be equal to one of the allowed values [once, drain, listen]`,
      `${at}.logRetentionInDays': must be equal to one of the allowed values`,
      `${at}.reservedConcurrency': unrecognized property 'publisher'`,
      `${at}.parameters.poller.0': must match pattern`,
      `${at}.failedSchedules': must match pattern "^arn:"`,
      `${at}.alarms.topic': unrecognized property 'Reff'`,
      `${at}.alarms.maxLag': must be >= 0`,
    ]) {
      expect(output).toContain(line)
    }
  })

  test('is refused where two values do not go together', { timeout: PATIENCE_MS }, async () => {
    const functions = { poller: aFunction([{ ...billing, claimer: 'clamer' }]), claimer: aFunction() }

    expect(await refusalOf(functions)).toMatch(
      /Error:\nCannot use functions\.poller\.events\.0\.redisStream: claimer must name a function of this service, got "clamer"; there are poller, claimer\n/,
    )
  })
})

describe('the plugin', () => {
  test('is what require() answers, as Serverless 3 wants it', () => {
    const required = createRequire(import.meta.url)('millrace/serverless')

    expect([typeof required, required.name]).toEqual(['function', RedisStreamPlugin.name])
  })

  test('gives no role where the service has one for all, or serverless-iam-roles-per-function makes one', () => {
    const functions = {
      poller: { name: 'shop-poller', events: [{ redisStream: billing }], iamRoleStatements: [] },
      claimer: { name: 'shop-claimer' },
    }
    const hooks = initialize(functions, {
      getCustomExecutionRole: (fn: object) => (fn === functions.claimer ? ROLE : undefined),
    })
    hooks['before:package:setupProviderConfiguration']?.()

    expect(functions).toMatchObject({ poller: { logRetentionInDays: 30 }, claimer: { logRetentionInDays: 30 } })
    expect(Object.values(functions).filter((fn) => 'role' in fn)).toEqual([])
  })

  test('gives roles only when packaging: deploy function would take a role for a deployed one', () => {
    const functions = { poller: { events: [{ redisStream: billing }] }, claimer: {} }
    const hooks = initialize(functions, {})

    expect(Object.values(functions).map((fn) => 'role' in fn)).toEqual([false, false])

    hooks['before:package:setupProviderConfiguration']?.()

    expect(functions).toMatchObject({ poller: { role: 'pollerRole' }, claimer: { role: 'claimerRole' } })
  })

  test("keeps days of the provider's where the event names none", () => {
    const functions = { poller: { events: [{ redisStream: billing }] }, claimer: {} }
    initialize(functions, {}, { logRetentionInDays: 5 })

    expect(functions).toMatchObject({ poller: { logRetentionInDays: 5 }, claimer: { logRetentionInDays: 5 } })
  })
})

/** Runs the plugin's first hook on functions, beside what osls says of AWS and of the provider. */
function initialize(functions: object, aws: object, provider: object = {}) {
  const naming = { getStackName: () => 'shop-dev', getNormalizedFunctionName: (name: string) => name }
  const serverless = {
    service: { functions, provider },
    configSchemaHandler: { defineFunctionEvent: () => {} },
    getProvider: () => ({ naming, getCustomExecutionRole: () => undefined, ...aws }),
  }
  const { hooks } = new RedisStreamPlugin(serverless as never)
  hooks.initialize?.()
  return hooks
}

async function refusalOf(functions: object): Promise<string> {
  return packageService(functions).then(
    () => 'nothing was refused',
    (error: Error) => error.message,
  )
}
