import { rmSync } from 'node:fs'
import { App, Aws, Duration, NestedStack, Stack, Token, Validations } from 'aws-cdk-lib'
import { Match, Template } from 'aws-cdk-lib/assertions'
import { PolicyStatement, Role } from 'aws-cdk-lib/aws-iam'
import { type IKey, Key } from 'aws-cdk-lib/aws-kms'
import {
  Code,
  Function as DeployedFunction,
  type FunctionProps,
  type IFunction,
  Runtime,
  SingletonFunction,
} from 'aws-cdk-lib/aws-lambda'
import { ScheduleExpression } from 'aws-cdk-lib/aws-scheduler'
import { Topic } from 'aws-cdk-lib/aws-sns'
import { Queue } from 'aws-cdk-lib/aws-sqs'
import { AwsSolutionsChecks } from 'cdk-nag'
import { Construct } from 'constructs'
import { RedisStreamConsumer, type RedisStreamConsumerProps, RedisStreamEventSource } from 'millrace/cdk'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { validateTemplate } from '../support/validate-template.ts'

/** No bundling, and no start of the validator that the CDK runs by itself: what is to be valid is validated below. */
const CONTEXT = { 'aws:cdk:bundling-stacks': [], '@aws-cdk/core:validateAgainstDefaultRules': false }
const consumer = { stream: 'orders', group: 'billing' }

const outputs: string[] = []
afterAll(() => {
  for (const folder of outputs) rmSync(folder, { recursive: true, force: true })
})

/** What it writes to a temporary folder is removed in the end. */
function newApp(): App {
  const app = new App({ context: CONTEXT })
  outputs.push(app.outdir)
  return app
}

const FUNCTION = {
  handler: 'index.handler',
  runtime: Runtime.NODEJS_24_X,
  code: Code.fromInline('exports.handler = () => {}'),
}

class Shop {
  readonly app = newApp()
  readonly stack = new Stack(this.app, 'Shop')
  readonly poller = this.addFunction('OrdersPoller')
  readonly claimer = this.addFunction('OrdersClaimer')

  addFunction(id: string, environment: Record<string, string> = {}): DeployedFunction {
    return addFunction(this.stack, id, { environment })
  }

  addConsumer(props: Partial<RedisStreamConsumerProps> = {}, id = 'Billing'): RedisStreamConsumer {
    return new RedisStreamConsumer(this.stack, id, {
      poller: this.poller,
      claimer: this.claimer,
      ...consumer,
      ...props,
    })
  }

  get template(): Template {
    return Template.fromStack(this.stack)
  }

  environmentOf(fn: IFunction): unknown {
    return this.propertiesOf(fn)?.Environment?.Variables
  }

  // biome-ignore lint/suspicious/noExplicitAny: as many shapes as there are types of resources
  propertiesOf(fn: IFunction): any {
    const id = this.stack.getLogicalId(fn.node.defaultChild as never)
    return this.template.toJSON().Resources[id]?.Properties
  }
}

// a busy machine takes long to compile the validator
beforeAll(() => void validateTemplate({ Resources: {} }), 120_000)

describe('RedisStreamEventSource', () => {
  test('makes a valid template of the function that it is added to', () => {
    const shop = new Shop()
    shop.poller.addEventSource(
      new RedisStreamEventSource({
        ...consumer,
        claimer: shop.claimer,
        schedule: Duration.minutes(5),
        pollers: 2,
        parameters: { poller: '/shop/redis-url' },
        targets: [shop.addFunction('NotifyShipping')],
        onFailedSchedule: new Queue(shop.stack, 'Failed'),
        alarmTopic: new Topic(shop.stack, 'OnCall'),
        cacheClusterId: 'cache-001',
      }),
    )

    shop.template.resourcePropertiesCountIs('AWS::Scheduler::Schedule', { ScheduleExpression: 'rate(5 minutes)' }, 3)
    shop.template.resourceCountIs('AWS::CloudWatch::Alarm', 8)
    shop.template.resourceCountIs('AWS::CloudWatch::Dashboard', 1)
    expect(validateTemplate(shop.template.toJSON())).toEqual([])
  })

  test('has what it made as its consumer, once it is added', () => {
    const shop = new Shop()
    const source = new RedisStreamEventSource({ ...consumer, claimer: shop.claimer })

    expect(() => source.consumer).toThrow(
      'consumer cannot be read before addEventSource(), got an event source that is not bound yet',
    )
    shop.poller.addEventSource(source)
    expect(source.consumer).toBeInstanceOf(RedisStreamConsumer)
  })

  test('takes names that only the deployment knows, and names with a slash', () => {
    const shop = new Shop()
    const stream = Token.asString({ Ref: 'AWS::Region' })
    for (const group of ['billing', 'search'])
      shop.poller.addEventSource(new RedisStreamEventSource({ stream, group, claimer: shop.claimer }))
    shop.poller.addEventSource(
      new RedisStreamEventSource({
        stream: 'shop/orders',
        group: 'billing',
        claimer: shop.claimer,
        maxPollers: 8,
      }),
    )

    shop.template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      Dimensions: Match.arrayWith([{ Name: 'EventSource', Value: { Ref: 'AWS::Region' } }]),
    })
    expect(validateTemplate(shop.template.toJSON())).toEqual([])
  })
})

describe('RedisStreamConsumer', () => {
  test('has its alarms and its dashboard as members', () => {
    const { alarms, dashboard } = new Shop().addConsumer({ alarms: { noPoll: false } })

    expect(Object.keys(alarms).sort()).toEqual([
      'claimerFailing',
      'deadLetters',
      'deadLettersFull',
      'lag',
      'lost',
      'oldestPending',
      'pollerFailing',
    ])
    expect(alarms.lag).toMatchObject({ metricName: 'Lag', threshold: 10_000 })
    expect(dashboard).toBeDefined()
    const without = new Shop().addConsumer({ alarms: false, dashboard: false })
    expect([without.alarms, without.dashboard]).toEqual([{}, undefined])
  })

  test('passes both functions what it overrides, and their service', () => {
    const shop = new Shop()
    shop.addConsumer({ batchSize: 50, maxRun: Duration.seconds(40), mode: 'once' })
    shop.addConsumer({ group: 'search', maxPollers: 8, filterPatterns: [{ type: [{ prefix: 'Order' }] }] }, 'Search')

    for (const fn of [shop.poller, shop.claimer])
      expect(shop.environmentOf(fn)).toEqual({
        POWERTOOLS_SERVICE_NAME: 'Shop',
        MILLRACE_EVENT_SOURCE: JSON.stringify([
          { stream: 'orders', group: 'billing', batchSize: 50, mode: 'once', maxRunMs: 40_000 },
          { stream: 'orders', group: 'search', maxPollers: 8, filterPatterns: [{ type: [{ prefix: 'Order' }] }] },
        ]),
      })
  })

  test('reports under the service that the functions have already', () => {
    const shop = new Shop()
    const poller = shop.addFunction('Other', { POWERTOOLS_SERVICE_NAME: 'billing' })
    const { serviceName } = shop.addConsumer({ poller })

    expect(serviceName).toBe('billing')
    expect(shop.environmentOf(shop.claimer)).toEqual({ POWERTOOLS_SERVICE_NAME: 'billing' })
    shop.template.hasResourceProperties('AWS::CloudWatch::Alarm', {
      MetricName: 'Lag',
      Dimensions: Match.arrayWith([{ Name: 'service', Value: 'billing' }]),
    })
  })

  test('passes a SingletonFunction its service, too', () => {
    const shop = new Shop()
    const poller = new SingletonFunction(shop.stack, 'Singleton', { ...FUNCTION, uuid: 'orders' })
    shop.addConsumer({ poller })

    shop.template.resourcePropertiesCountIs(
      'AWS::Lambda::Function',
      { Environment: { Variables: { POWERTOOLS_SERVICE_NAME: 'Shop' } } },
      2,
    )
  })

  test('reports a function that changes its service afterwards', () => {
    const shop = new Shop()
    shop.addConsumer()
    shop.poller.addEnvironment('POWERTOOLS_SERVICE_NAME', 'late')

    expect(() => shop.app.synth()).toThrow(
      'POWERTOOLS_SERVICE_NAME of Shop/OrdersPoller cannot change after the event source was added, got "late": alarms and dashboard search for "Shop"',
    )
  })

  test('shares a stack with others: what belongs to functions and stack is there once', () => {
    const shop = new Shop()
    shop.addConsumer()
    shop.addConsumer({ group: 'search' }, 'Search')
    shop.addConsumer(
      { stream: 'users', poller: shop.addFunction('UsersPoller'), claimer: shop.addFunction('UsersClaimer') },
      'Users',
    )
    const counts = Object.values(shop.template.toJSON().Resources as Record<string, { Type: string }>).map(
      ({ Type }) => Type,
    )

    expect(
      Object.entries(Object.groupBy(counts, (type) => type))
        .map(([type, all]) => `${all?.length} ${type}`)
        .sort(),
    ).toEqual([
      '1 AWS::SQS::Queue',
      '1 AWS::SQS::QueuePolicy',
      '1 AWS::Scheduler::ScheduleGroup',
      '2 AWS::IAM::Policy',
      '24 AWS::CloudWatch::Alarm',
      '3 AWS::CloudWatch::Dashboard',
      '4 AWS::Lambda::EventInvokeConfig',
      '4 AWS::Lambda::Function',
      '4 AWS::Scheduler::Schedule',
      '8 AWS::IAM::Role',
    ])
    expect(validateTemplate(shop.template.toJSON())).toEqual([])
  })

  test('has a dashboard of its own beside a consumer whose name differs by a hyphen', () => {
    const shop = new Shop()
    shop.addConsumer({ stream: 'shop-orders' })
    shop.addConsumer({ stream: 'shop:orders' }, 'Other')

    shop.template.resourceCountIs('AWS::CloudWatch::Dashboard', 2)
    shop.template.hasResourceProperties('AWS::CloudWatch::Dashboard', {
      DashboardName: { 'Fn::Join': ['-', [{ Ref: 'AWS::StackName' }, 'ShopOther']] },
    })
  })

  test('adds to the roles that the functions have, without a statement twice', () => {
    const shop = new Shop()
    shop.poller.addToRolePolicy(new PolicyStatement({ actions: ['ses:SendEmail'], resources: ['*'] }))
    const parameters = { poller: '/shop/redis-url' }
    shop.addConsumer({ parameters })
    shop.addConsumer({ parameters, group: 'search' }, 'Search')

    shop.template.hasResourceProperties('AWS::IAM::Policy', {
      PolicyName: Match.stringLikeRegexp('^OrdersPollerServiceRoleDefaultPolicy'),
      PolicyDocument: {
        Statement: [{ Action: 'ses:SendEmail' }, { Action: 'ssm:GetParameter' }, { Action: 'kms:Decrypt' }].map(
          (statement) => Match.objectLike(statement),
        ),
      },
    })
  })

  test('stands in another stack than its functions, with others', () => {
    const shop = new Shop()
    const watch = new Stack(shop.app, 'Watch')
    const functions = { poller: shop.poller, claimer: shop.claimer }
    new RedisStreamConsumer(watch, 'Billing', { ...functions, ...consumer })
    new RedisStreamConsumer(watch, 'Search', { ...functions, ...consumer, group: 'search' })
    const template = Template.fromStack(watch)

    template.resourceCountIs('AWS::Scheduler::Schedule', 2)
    template.resourceCountIs('AWS::Lambda::EventInvokeConfig', 2)
    expect(validateTemplate(template.toJSON())).toEqual([])
  })

  test.each<[string, (stack: Stack) => IKey]>([
    ['a key', (stack) => new Key(stack, 'Key')],
    ['an alias', (stack) => new Key(stack, 'Key').addAlias('queues')],
  ])('lets the schedules encrypt what they put into a queue with %s of its own', (_, keyOf) => {
    const shop = new Shop()
    const onFailedSchedule = new Queue(shop.stack, 'Failed', { encryptionMasterKey: keyOf(shop.stack) })
    shop.addConsumer({ onFailedSchedule })
    const [id] = Object.keys(shop.template.findResources('AWS::KMS::Key'))
    const statement = {
      Effect: 'Allow',
      Action: ['kms:GenerateDataKey', 'kms:Decrypt'],
      Resource: { 'Fn::GetAtt': [id, 'Arn'] },
    }

    const roles = shop.template.findResources('AWS::IAM::Role', {
      Properties: { Policies: [{ PolicyDocument: { Statement: Match.arrayWith([Match.objectLike(statement)]) } }] },
    })
    expect(Object.keys(roles).length).toBe(2)
    expect(validateTemplate(shop.template.toJSON())).toEqual([])
  })

  describe('wakes both functions, however alike their ids are', () => {
    test.each<[string, (app: App) => Place]>([
      [
        'the same in two stacks',
        (app) => {
          const stack = new Stack(app, 'A')
          return { stack, poller: addFunction(stack, 'Handler'), claimer: addFunction(new Stack(app, 'B'), 'Handler') }
        },
      ],
      [
        'the same in two stacks, consumer in a third',
        (app) => ({
          stack: new Stack(app, 'C'),
          poller: addFunction(new Stack(app, 'A'), 'Handler'),
          claimer: addFunction(new Stack(app, 'B'), 'Handler'),
        }),
      ],
      [
        'the same in two nested stacks',
        (app) => {
          const parent = new Stack(app, 'Parent')
          const stack = new NestedStack(parent, 'A')
          const claimer = addFunction(new NestedStack(parent, 'B'), 'Handler')
          return { stack, poller: addFunction(stack, 'Handler'), claimer }
        },
      ],
      [
        'Orders and OrdersSchedule',
        (app) => {
          const stack = new Stack(app, 'A')
          return { stack, poller: addFunction(stack, 'Orders'), claimer: addFunction(stack, 'OrdersSchedule') }
        },
      ],
      [
        'Orders/Handler and OrdersHandler',
        (app) => {
          const stack = new Stack(app, 'A')
          const poller = addFunction(new Construct(stack, 'Orders'), 'Handler')
          return { stack, poller, claimer: addFunction(stack, 'OrdersHandler') }
        },
      ],
    ])('%s', (_, placeIn) => {
      const { stack, ...functions } = placeIn(newApp())
      for (const group of ['billing', 'search'])
        new RedisStreamConsumer(stack, group, { ...consumer, ...functions, group, serviceName: 'shop' })
      const template = Template.fromStack(stack)
      const schedules = Object.values(template.findResources('AWS::Scheduler::Schedule'))

      expect(new Set(schedules.map(({ Properties }) => JSON.stringify(Properties.Target.Arn))).size).toBe(2)
      expect(new Set(schedules.map(({ Properties }) => JSON.stringify(Properties.Target.RoleArn))).size).toBe(2)
      template.resourceCountIs('AWS::Lambda::EventInvokeConfig', 2)
      expect(validateTemplate(template.toJSON())).toEqual([])
    })
  })

  test('leaves cdk-nag nothing to find but what the CDK gives every function', () => {
    const shop = new Shop()
    shop.addConsumer({ parameters: { poller: '/shop/redis-url', claimer: '/shop/redis-url' } })
    Validations.of(shop.app).addPlugins(new AwsSolutionsChecks(shop.app))

    expect(() => shop.app.synth()).toThrow('AwsSolutions-IAM4') // so that the next line proves something
    acknowledgeBasicRole(shop)
    expect(() => shop.app.synth({ force: true })).not.toThrow()
  })

  test.each<[string, (shop: Shop) => Stack]>([
    ['another stack', ({ app }) => new Stack(app, 'Watch')],
    ['a nested stack', ({ stack }) => new NestedStack(stack, 'Watch')],
  ])('leaves cdk-nag nothing to find in %s than the functions, either', (_, stackOf) => {
    const shop = new Shop()
    const { poller, claimer } = shop
    new RedisStreamConsumer(stackOf(shop), 'Billing', { ...consumer, poller, claimer, serviceName: 'shop' })
    acknowledgeBasicRole(shop)
    Validations.of(shop.app).addPlugins(new AwsSolutionsChecks(shop.app))

    expect(() => shop.app.synth()).not.toThrow()
  })
})

describe('imported functions', () => {
  const functionArn = 'arn:aws:lambda:eu-west-1:123456789012:function:orders-poller'
  const roleArn = 'arn:aws:iam::123456789012:role/orders-poller'

  function importPoller({ stack }: Shop, withRole = true): IFunction {
    const role = withRole ? { role: Role.fromRoleArn(stack, 'PollerRole', roleArn) } : {}
    return DeployedFunction.fromFunctionAttributes(stack, 'Imported', { functionArn, sameEnvironment: true, ...role })
  }

  test('are consumers like others, once their service is named', () => {
    const shop = new Shop()
    shop.addConsumer({ poller: importPoller(shop), serviceName: 'shop' })

    shop.template.hasResourceProperties('AWS::Scheduler::Schedule', { Target: { Arn: functionArn } })
    shop.template.hasResourceProperties('AWS::IAM::Policy', {
      PolicyDocument: {
        Statement: [{ Action: 'lambda:InvokeFunction', Effect: 'Allow', Resource: [functionArn, `${functionArn}:*`] }],
      },
      Roles: ['orders-poller'],
    })
    expect(validateTemplate(shop.template.toJSON())).toEqual([])
  })

  test.each([
    [
      'without a serviceName',
      {},
      true,
      'serviceName must be given where the poller is imported, got Shop/Imported, whose environment',
    ],
    [
      'with what would have to be in their environment',
      { serviceName: 'shop', batchSize: 5, maxPollers: 8 },
      true,
      'batchSize, maxPollers cannot be given where the poller is imported, got Shop/Imported, whose environment is set elsewhere',
    ],
    [
      'without a role',
      { serviceName: 'shop' },
      false,
      'poller cannot be imported without its role, got Shop/Imported, which needs InvokeItself: import it by Function.fromFunctionAttributes()',
    ],
  ])('are refused %s', (_, props, withRole, message) => {
    const shop = new Shop()

    expect(() => shop.addConsumer({ ...props, poller: importPoller(shop, withRole) })).toThrow(message)
  })
})

describe('props that cannot be', () => {
  test.each<[string, Partial<RedisStreamConsumerProps>, string]>([
    ['a batch too large', { batchSize: 20_000 }, 'batchSize cannot be over 10000, got 20000'],
    [
      'a bad pattern',
      { filterPatterns: [{ type: [] }] },
      'filterPatterns[0].type must have a value or a comparison, got an empty array',
    ],
    ['a run too long', { maxRun: Duration.hours(1) }, 'maxRun in milliseconds cannot be over 900000, got 3600000'],
    ['no group', { group: '' }, 'group must be a string that is not empty, got ""'],
    [
      'more pollers than maxPollers',
      { pollers: 5 },
      'pollers cannot be over maxPollers, got pollers 5 and maxPollers 4; set maxPollers here',
    ],
    ['a limit below zero', { alarms: { maxLag: -1 } }, 'alarms.maxLag cannot be under 0, got -1'],
    [
      'a silence too short',
      { alarms: { noPoll: Duration.minutes(1) } },
      'alarms.noPoll in milliseconds cannot be under 180000, got 60000',
    ],
    [
      'a schedule without a period',
      { schedule: ScheduleExpression.cron({ minute: '0', hour: '3' }) },
      'alarms.noPoll must be given where the schedule has no fixed period, got schedule cron(0 3 * * ? *)',
    ],
    [
      'a schedule elsewhere',
      { schedule: ScheduleExpression.expression('rate(1 minute)', { timezoneName: 'Europe/Berlin' } as never) },
      'schedule cannot have a time zone other than Etc/UTC, got Europe/Berlin',
    ],
  ])('%s is refused in the words of the CDK', (_, props, message) => {
    expect(messageOf(() => new Shop().addConsumer(props)).slice(0, message.length)).toBe(message)
  })

  test('a version or an alias is refused', () => {
    const shop = new Shop()

    expect(() => shop.addConsumer({ poller: shop.poller.currentVersion as IFunction })).toThrow(
      'poller cannot be a version or an alias',
    )
    expect(() => shop.addConsumer({ claimer: shop.claimer.addAlias('live') as IFunction }, 'Other')).toThrow(
      'claimer cannot be a version or an alias',
    )
  })

  test.each([
    ['text', 'arn:aws:lambda:eu-west-1:123456789012:function:orders:live'],
    [
      'text with what the deployment knows',
      `arn:${Aws.PARTITION}:lambda:${Aws.REGION}:${Aws.ACCOUNT_ID}:function:orders:7`,
    ],
  ])('an imported version or alias is refused, too: %s', (_, functionArn) => {
    const shop = new Shop()
    const poller = DeployedFunction.fromFunctionAttributes(shop.stack, 'Imported', { functionArn })

    expect(() => shop.addConsumer({ poller, serviceName: 'shop' })).toThrow(
      'poller cannot be a version or an alias, got Shop/Imported',
    )
  })

  test('a nested stack with a function of another stack must have a service', () => {
    const shop = new Shop()
    const nested = new NestedStack(shop.stack, 'Nested')
    const poller = addFunction(nested, 'Poller')

    expect(() => new RedisStreamConsumer(nested, 'Billing', { ...consumer, poller, claimer: shop.claimer })).toThrow(
      'serviceName must be given where a nested stack has a function of another stack, got none in Shop/Nested, whose name only the deployment knows',
    )
  })

  test('a function that polls for one consumer and claims for another is refused', () => {
    const shop = new Shop()
    shop.addConsumer()
    const other = shop.addFunction('Other')

    expect(() => shop.addConsumer({ group: 'search', claimer: shop.poller, poller: other }, 'Search')).toThrow(
      'claimer cannot be the poller of another consumer, got Shop/OrdersPoller',
    )
    expect(() => shop.addConsumer({ group: 'audit', poller: shop.claimer, claimer: other }, 'Audit')).toThrow(
      'poller cannot be the claimer of another consumer, got Shop/OrdersClaimer',
    )
  })

  test('more pollers than may run at once are refused, where that is known', () => {
    const shop = new Shop()
    const limited = addFunction(shop.stack, 'Limited', { reservedConcurrentExecutions: 1 })
    const off = addFunction(shop.stack, 'Off', { reservedConcurrentExecutions: 0 })
    const later = addFunction(shop.stack, 'Later', { reservedConcurrentExecutions: Token.asNumber({ Ref: 'Limit' }) })

    expect(() => shop.addConsumer({ poller: limited, pollers: 3 })).toThrow(
      "pollers cannot be over the poller's reservedConcurrentExecutions, got pollers 3 and, in Shop/Limited, 1",
    )
    shop.addConsumer({ stream: 'off', poller: off, pollers: 3 }, 'BillingOff')
    shop.addConsumer(
      { stream: 'later', poller: later, pollers: 3, claimer: shop.addFunction('Claims') },
      'BillingLater',
    )
  })

  test('one function for both parts is refused', () => {
    const shop = new Shop()

    expect(() => shop.addConsumer({ claimer: shop.poller })).toThrow(
      'claimer cannot be the poller itself, got Shop/OrdersPoller for both',
    )
  })

  test('a consumer is refused a second time', () => {
    const shop = new Shop()
    shop.addConsumer()

    expect(() => shop.addConsumer({}, 'Again')).toThrow(
      'group cannot be used twice for a stream in one stack, got billing on orders at Shop/Billing, too',
    )
  })

  test.each<[string, Partial<RedisStreamConsumerProps>, string]>([
    ['a schedule', { schedule: Duration.hours(1) }, 'schedule, enabled and onFailedSchedule cannot differ'],
    [
      'a number of pollers',
      { pollers: 2 },
      'pollers cannot differ between the consumers of a function, got 2 and, with group billing, 1',
    ],
  ])('%s that another consumer of the function has otherwise is refused', (_, props, message) => {
    const shop = new Shop()
    shop.addConsumer()

    expect(() => shop.addConsumer({ group: 'search', ...props }, 'Search')).toThrow(message)
  })

  test("a queue that differs from the function's other consumer's is refused, even with equal ids", () => {
    const shop = new Shop()
    shop.addConsumer({ onFailedSchedule: new Queue(shop.stack, 'Failed') })
    const onFailedSchedule = new Queue(new Stack(shop.app, 'Other'), 'Failed')

    expect(() => shop.addConsumer({ group: 'search', onFailedSchedule }, 'Search')).toThrow(
      'schedule, enabled and onFailedSchedule cannot differ',
    )
  })

  test('retries of Lambda are refused, before and after', () => {
    const before = new Shop()
    before.claimer.configureAsyncInvoke({ retryAttempts: 1 })
    const after = new Shop()
    after.addConsumer()

    expect(() => before.addConsumer()).toThrow(
      'function cannot have an asynchronous invocation configuration of its own (configureAsyncInvoke, retryAttempts, maxEventAge, onFailure, onSuccess), got one at Shop/OrdersClaimer',
    )
    expect(() => after.poller.configureAsyncInvoke({ retryAttempts: 1 })).toThrow('EventInvokeConfig')
  })
})

interface Place {
  readonly stack: Stack
  readonly poller: IFunction
  readonly claimer: IFunction
}

function addFunction(scope: Construct, id: string, props: Partial<FunctionProps> = {}): DeployedFunction {
  return new DeployedFunction(scope, id, { ...FUNCTION, ...props })
}

function acknowledgeBasicRole({ poller, claimer }: Shop): void {
  for (const fn of [poller, claimer]) {
    Validations.of(fn).acknowledge({
      id: 'AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole]',
      reason: "the CDK's own",
    })
  }
}

function messageOf(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    return (error as Error).message
  }
  return 'nothing was thrown'
}
