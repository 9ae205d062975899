import { execFile } from 'node:child_process'
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { RegoEngine, TemplateFile } from '@aws/cloudformation-validate'
import { Redis } from 'ioredis'
import type { Report } from 'millrace'
import { createPublisher } from 'millrace'
import { connectIoredis } from 'millrace/ioredis'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { OrderPaid } from '../../functions/orders/events.ts'
import { type PrivateRedis, startRedisServer } from '../../tools/redis-server.ts'
import { createAclUsers, urlOf } from './acl-users.ts'
import { type PackagedFunctions, packageFunctions } from './package-functions.ts'

const run = promisify(execFile)
const root = join(import.meta.dirname, '../..')

const FUNCTIONS = [
  { name: 'ordersPoller', id: 'OrdersPoller', bundle: 'functions/orders/poller.mjs', user: 'orders-poller' },
  { name: 'ordersClaimer', id: 'OrdersClaimer', bundle: 'functions/orders/claimer.mjs', user: 'orders-claimer' },
] as const

type FunctionName = (typeof FUNCTIONS)[number]['name']

let packaged: PackagedFunctions

beforeAll(async () => {
  packaged = await packageFunctions()
}, 150_000)

afterAll(() => packaged?.remove())

describe('the template', () => {
  test('is valid', () => {
    const engine = new RegoEngine()
    const { diagnostics } = engine.validateStandard(new TemplateFile(packaged.templateFile))
    engine.free()
    const found = diagnostics
      .filter(({ severity }) => severity !== 'INFO')
      .map(({ severity, ruleId, entity }) => `${severity} ${ruleId} ${entity?.logicalId}`)

    // osls names the role among what a function depends on, though the role's GetAtt says so already
    expect(found).toEqual(FUNCTIONS.map(({ id }) => `WARN W3005 ${id}LambdaFunction`))
  })

  test('has nothing but the functions, what wakes them, what they may do, and where they log', () => {
    const types = Object.values(packaged.template.Resources).map(({ Type }) => Type)

    expect(types.filter((type) => !type.startsWith('AWS::S3::')).sort()).toEqual([
      'AWS::IAM::ManagedPolicy',
      'AWS::IAM::Role',
      'AWS::IAM::Role',
      'AWS::IAM::Role',
      'AWS::IAM::Role',
      'AWS::Lambda::EventInvokeConfig',
      'AWS::Lambda::EventInvokeConfig',
      'AWS::Lambda::Function',
      'AWS::Lambda::Function',
      'AWS::Logs::LogGroup',
      'AWS::Logs::LogGroup',
      'AWS::Scheduler::Schedule',
      'AWS::Scheduler::Schedule',
      'AWS::Scheduler::ScheduleGroup',
    ])
  })

  test('has no URL and no password anywhere', () => {
    expect(JSON.stringify(packaged.template)).not.toMatch(/rediss?:\/\/|password|secret/i)
  })

  describe.each(FUNCTIONS)('for $name', ({ name, id, user }) => {
    test('runs it on Node.js 24 and arm64, with time for handlers of 10 s between two minutes', () => {
      expect(properties(`${id}LambdaFunction`)).toMatchObject({
        Runtime: 'nodejs24.x',
        Architectures: ['arm64'],
        MemorySize: 512,
        Timeout: 55,
        Role: { 'Fn::GetAtt': [`${id}Role`, 'Arn'] },
        VpcConfig: { SubnetIds: { Ref: 'OrdersSubnetIds' }, SecurityGroupIds: { Ref: 'OrdersSecurityGroupIds' } },
      })
    })

    test("puts the name of its Redis URL's parameter into the environment, and what is no secret", () => {
      expect(properties(`${id}LambdaFunction`).Environment.Variables).toEqual({
        NODE_OPTIONS: '--enable-source-maps',
        ORDERS_STREAM: '{{resolve:ssm:/millrace/dev/orders/stream}}',
        REDIS_URL_PARAMETER: `/millrace/dev/orders/${user.slice('orders-'.length)}-redis-url`,
      })
    })

    test('wakes it every minute, without a retry', () => {
      const schedules = Object.values(packaged.template.Resources).filter(
        ({ Type, Properties }) =>
          Type === 'AWS::Scheduler::Schedule' && Properties.Target.Arn['Fn::GetAtt'][0] === `${id}LambdaFunction`,
      )

      expect(schedules).toMatchObject([
        {
          Properties: {
            ScheduleExpression: 'rate(1 minute)',
            State: 'ENABLED',
            FlexibleTimeWindow: { Mode: 'OFF' },
            GroupName: { Ref: 'OrdersScheduleGroup' },
            Target: {
              RoleArn: { 'Fn::GetAtt': [`${id}ScheduleRole`, 'Arn'] },
              RetryPolicy: { MaximumRetryAttempts: 0, MaximumEventAgeInSeconds: 60 },
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
              'aws:SourceArn': { 'Fn::GetAtt': ['OrdersScheduleGroup', 'Arn'] },
            },
          },
        },
      ])
      expect(statementsOf(Policies)).toEqual([
        {
          Effect: 'Allow',
          Action: 'lambda:InvokeFunction',
          Resource: { 'Fn::GetAtt': [`${id}LambdaFunction`, 'Arn'] },
        },
      ])
      expect(ManagedPolicyArns).toBeUndefined()
    })

    test('keeps Lambda from retrying it', () => {
      expect(properties(`${id}LambdaEvConf`)).toMatchObject({
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

    test('lets it write its own log and read its own parameter, and nothing else but be in the VPC', () => {
      const { AssumeRolePolicyDocument, Policies, ManagedPolicyArns } = properties(`${id}Role`)
      const { REDIS_URL_PARAMETER } = properties(`${id}LambdaFunction`).Environment.Variables
      const parameter = arn('ssm', `parameter${REDIS_URL_PARAMETER}`)

      expect(AssumeRolePolicyDocument.Statement).toEqual([
        { Effect: 'Allow', Principal: { Service: 'lambda.amazonaws.com' }, Action: 'sts:AssumeRole' },
      ])
      expect(statementsOf(Policies)).toEqual([
        {
          Sid: 'WriteLog',
          Effect: 'Allow',
          Action: ['logs:CreateLogStream', 'logs:PutLogEvents'],
          Resource: { 'Fn::GetAtt': [`${id}LogGroup`, 'Arn'] },
        },
        { Sid: 'ReadRedisUrl', Effect: 'Allow', Action: 'ssm:GetParameter', Resource: parameter },
        {
          Sid: 'DecryptRedisUrl',
          Effect: 'Allow',
          Action: 'kms:Decrypt',
          Resource: arn('kms', 'key/*'),
          Condition: {
            StringEquals: {
              'kms:ViaService': { 'Fn::Sub': `ssm.\${AWS::Region}.amazonaws.com` },
              'kms:EncryptionContext:PARAMETER_ARN': parameter,
            },
          },
        },
      ])
      expect(ManagedPolicyArns).toEqual([{ Ref: 'OrdersNetworkPolicy' }])
    })
  })

  test('allows no action by a wildcard, and any resource only where EC2 knows no narrower one', () => {
    const allowed = Object.values(packaged.template.Resources)
      .flatMap(({ Properties }) => [...statementsOf(Properties.Policies), ...statementsOf([Properties])])
      .filter(({ Effect }) => Effect === 'Allow')

    expect(allowed.flatMap(({ Action }) => Action).filter((action) => action.includes('*'))).toEqual([])
    expect(allowed.filter(({ Resource }) => Resource === '*').flatMap(({ Action }) => Action)).toEqual([
      'ec2:DescribeNetworkInterfaces',
      'ec2:DescribeSubnets',
    ])
  })

  test("keeps the functions' own code from what Lambda needs for their network", () => {
    const [allowDescribe, allowAttach, deny] = properties('OrdersNetworkPolicy').PolicyDocument.Statement

    expect(deny).toMatchObject({
      Effect: 'Deny',
      Action: [...allowDescribe.Action, ...allowAttach.Action],
      Resource: '*',
      Condition: {
        ArnEquals: {
          'lambda:SourceFunctionArn': FUNCTIONS.map(({ id }) =>
            arn('lambda', `function:${properties(`${id}LambdaFunction`).FunctionName}`),
          ),
        },
      },
    })
  })
})

describe.each(FUNCTIONS)('the artefact of $name', ({ name, bundle }) => {
  test('is one ES module and its source map', () => {
    expect([...artefactOf(name).files].sort()).toEqual([bundle, `${bundle}.map`])
  })

  test('is small', async ({ annotate }) => {
    const { size } = await stat(join(artefactOf(name).folder, bundle))
    await annotate(`${bundle}: ${Math.round(size / 1024)} KB`)

    expect(size).toBeLessThan(300 * 1024)
  })

  test('holds the client, the validator, middy, Powertools and ours, and no development dependency', async () => {
    const map = await readFile(join(artefactOf(name).folder, `${bundle}.map`), 'utf8')
    const { sources } = JSON.parse(map) as { sources: string[] }
    const owners = sources.map((source) => /.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(source)?.[1] ?? 'ours')

    expect([...new Set(owners)].sort()).toEqual([
      '@aws-lambda-powertools/commons',
      '@aws-lambda-powertools/logger',
      '@aws-lambda-powertools/metrics',
      '@aws/lambda-invoke-store',
      '@ioredis/commands',
      '@middy/core',
      'cluster-key-slot',
      'debug',
      'denque',
      'ioredis',
      'ms',
      'ours',
      'redis-errors',
      'standard-as-callback',
      'zod',
    ])
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

  async function publish(orderId: string): Promise<string> {
    const redis = connectIoredis(urlOf(server, 'orders-publisher'))
    const orders = createPublisher({ stream: 'orders', redis, producer: 'shop' })
    const { entryId } = await orders.publish(OrderPaid, { orderId, amount: '12.50', currency: 'EUR' })
    await redis.close()
    return entryId
  }

  /** One invocation in a process of its own. Lambda would freeze it with its connection open; here it exits. */
  async function invoke(name: FunctionName, env: Record<string, string>): Promise<Report> {
    const { bundle, user } = FUNCTIONS.find((fn) => fn.name === name) as (typeof FUNCTIONS)[number]
    const program = `
      const { handler } = await import('./${bundle}')
      const deadline = Date.now() + 55_000
      const report = await handler({}, {
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
    return JSON.parse(stdout.split('\n').at(-1) as string) as Report
  }
})

// biome-ignore lint/suspicious/noExplicitAny: as many shapes as there are types of resources
function properties(id: string): any {
  return packaged.template.Resources[id]?.Properties
}

function artefactOf(name: FunctionName) {
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
