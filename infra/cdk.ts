// The shop as a CDK app; serverless.yml deploys the same by the plugin. `npm run synth` writes the template and the bundles to
// cdk.out/, without network and credentials.
import { join } from 'node:path'
import { App, CfnParameter, Duration, RemovalPolicy, Stack, Validations } from 'aws-cdk-lib'
import { EventBus, Rule, Schedule } from 'aws-cdk-lib/aws-events'
import { LambdaFunction as RuleTarget } from 'aws-cdk-lib/aws-events-targets'
import { AnyPrincipal, Effect, ManagedPolicy, PolicyStatement } from 'aws-cdk-lib/aws-iam'
import { Alias } from 'aws-cdk-lib/aws-kms'
import { Architecture, type CfnFunction, FunctionUrlAuthType, Runtime } from 'aws-cdk-lib/aws-lambda'
import { NodejsFunction, OutputFormat } from 'aws-cdk-lib/aws-lambda-nodejs'
import { LogGroup, RetentionDays } from 'aws-cdk-lib/aws-logs'
import { BlockPublicAccess, Bucket, type CfnBucket } from 'aws-cdk-lib/aws-s3'
import { Topic } from 'aws-cdk-lib/aws-sns'
import { AwsSolutionsChecks } from 'cdk-nag'
import { RedisStreamEventSource, RedisStreamJanitor } from 'millrace/cdk'
import { addRedis, type Login } from './cdk-redis.ts'

const root = join(import.meta.dirname, '..')
const app = new App({ outdir: process.env.CDK_OUTDIR ?? join(root, 'cdk.out') })
const stage: string = app.node.tryGetContext('stage') ?? 'dev'
const stack = new Stack(app, `millrace-orders-${stage}`)

// where the functions run, as in network.yml
const subnetIds = idsFrom('OrdersSubnetIds', 'Subnet', 'subnet-ids')
const securityGroupIds = idsFrom('OrdersSecurityGroupIds', 'SecurityGroup', 'security-group-ids')

/** What connects to Redis, by its user. */
const logins = new Map<string, Login>()

const orders = makeFunctions('orders', 'the orders stream', { ORDERS_STREAM: 'orders' })
addConsumer(orders, 'orders', 'billing')
addJanitor()

const activity = makeFunctions('activity', 'the activity streams')
addConsumer(activity, 'user-actions', 'analytics')
addConsumer(activity, 'user-orders', 'fulfilment')
addConsumer(activity, 'system-metrics', 'monitoring')

const analytics = makeFunctions('analytics', "the dashboard's stream")
addConsumer(analytics, 'user-actions', 'dashboard')
const alerts = new Topic(stack, 'AlertsTopic', {
  displayName: 'Unusual figures of the shop',
  enforceSSL: true,
  masterKey: Alias.fromAliasName(stack, 'AlertsKey', 'alias/aws/sns'),
})
const detect = makeReader('analytics', 'detect', "Compares the shop's figures with those of the week before", {
  ALERTS_TOPIC_ARN: alerts.topicArn,
})
detect.addToRolePolicy(new PolicyStatement({ actions: ['sns:Publish'], resources: [alerts.topicArn] }))
detect.configureAsyncInvoke({ retryAttempts: 0, maxEventAge: Duration.minutes(1) })
new Rule(stack, 'AnalyticsDetectSchedule', {
  schedule: Schedule.rate(Duration.minutes(1)),
  targets: [new RuleTarget(detect)],
})
makeReader('analytics', 'read', "Answers the dashboard's data").addFunctionUrl({
  authType: FunctionUrlAuthType.AWS_IAM,
})

const checkout = makeFunctions('checkout', 'the checkout stream', {
  CHECKOUT_TIMEOUT_MS: app.node.tryGetContext('checkoutTimeoutMs') ?? '900000',
  PARTNERS_URL: app.node.tryGetContext('partnersUrl') ?? '', // payment provider and carrier; without it a sandbox answers
})
for (const group of ['order', 'payment', 'stock', 'shipping', 'stats']) addConsumer(checkout, 'checkout', group)
makeReader('checkout', 'read', 'Answers the states of orders').addFunctionUrl({ authType: FunctionUrlAuthType.AWS_IAM })

const webhooks = makeFunctions(
  'webhooks',
  "merchants' stream",
  { WEBHOOKS_TIMEOUT_MS: app.node.tryGetContext('webhooksTimeoutMs') ?? '15000' },
  90, // nothing begins in the last 21 s: until then, the next minute's has begun
)
addConsumer(webhooks, 'webhooks', 'delivery')
makeReader('webhooks', 'read', 'Answers how deliveries to merchants go').addFunctionUrl({
  authType: FunctionUrlAuthType.AWS_IAM,
})

// where the orders' bridge and record lead
const bus = new EventBus(stack, 'OrdersBus', { eventBusName: `orders-${stage}` })
const record = new Bucket(stack, 'OrdersRecord', {
  blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
  enforceSSL: true,
  versioned: true,
  removalPolicy: RemovalPolicy.RETAIN,
})
Validations.of(record).acknowledge({
  id: 'AwsSolutions-S1',
  reason: 'Who reads the record is for CloudTrail to keep; logs of requests would need a bucket of their own.',
})
const records = record.arnForObjects('audit/*')
// written once and never changed: whoever may write may not overwrite
record.addToResourcePolicy(
  new PolicyStatement({
    effect: Effect.DENY,
    principals: [new AnyPrincipal()],
    actions: ['s3:PutObject'],
    resources: [records],
    conditions: { Null: { 's3:if-none-match': 'true' } },
  }),
)
const fanOut = makeFunctions('fan-out', "the shop's orders", {
  WAREHOUSE_URL: app.node.tryGetContext('warehouseUrl') ?? '', // without it nobody is asked
  EVENT_BUS_NAME: bus.eventBusName,
  AUDIT_BUCKET: record.bucketName,
})
for (const fn of [fanOut.poller, fanOut.claimer]) {
  fn.addToRolePolicy(new PolicyStatement({ actions: ['events:PutEvents'], resources: [bus.eventBusArn] }))
  fn.addToRolePolicy(new PolicyStatement({ actions: ['s3:PutObject'], resources: [records] }))
  const named = `<${stack.getLogicalId(record.node.defaultChild as CfnBucket)}.Arn>/audit/*`
  Validations.of(fn).acknowledge({
    id: `AwsSolutions-IAM5[Resource::${named}]`,
    reason: 'Objects of the record, whose names are made of what is in them.',
  })
}
// as in objectives.ts
addConsumer(fanOut, 'shop-orders', 'billing', { oldestPendingMs: 300_000, maxLag: 5_000 })
addConsumer(fanOut, 'shop-orders', 'search', { oldestPendingMs: 60_000, maxLag: 1_000 })
addConsumer(fanOut, 'shop-orders', 'cache', { oldestPendingMs: 60_000, maxLag: 1_000 })
addConsumer(fanOut, 'shop-orders', 'warehouse', { oldestPendingMs: 600_000, maxLag: 50_000 })
addConsumer(fanOut, 'shop-orders', 'bridge', { oldestPendingMs: 120_000, maxLag: 5_000 })
addConsumer(fanOut, 'shop-orders', 'audit', { oldestPendingMs: 900_000, maxLag: 50_000 })
makeReader('fan-out', 'read', "Answers how far behind the groups of the shop's orders are").addFunctionUrl({
  authType: FunctionUrlAuthType.AWS_IAM,
})

// for those who have no Redis yet
if (String(app.node.tryGetContext('redis')) === 'true')
  addRedis(stack, {
    stage,
    vpcId: idFrom('OrdersVpcId', 'AWS::EC2::VPC::Id', 'vpc-id').valueAsString,
    subnetIds: subnetIds.valueAsList,
    securityGroupIds: securityGroupIds.valueAsList,
    logins,
  })

Validations.of(app).addPlugins(new AwsSolutionsChecks(app))
app.synth()

function addConsumer(
  { poller, ...shared }: ReturnType<typeof makeFunctions>,
  stream: string,
  group: string,
  alarms: { readonly oldestPendingMs?: number; readonly maxLag?: number } = {},
): void {
  poller.addEventSource(new RedisStreamEventSource({ stream, group, alarms, ...shared }))
}

/** Trims the orders stream. With an archive, give its bucket here too: `archiveBucket`, and ARCHIVE_BUCKET in the environment. */
function addJanitor(): void {
  const parameters = redisUrlOf('orders', 'janitor')
  const description = 'Trims the orders stream to what its groups have done'
  const environment = { ORDERS_STREAM: 'orders', ARCHIVE_BUCKET: '', REDIS_URL_PARAMETER: parameters }
  new RedisStreamJanitor(stack, 'OrdersJanitorOfStream', {
    janitor: makeFunction('orders', 'janitor', description, environment),
    stream: 'orders',
    parameters,
    groups: {
      billing: {
        owner: 'orders-team',
        objective: { maxLag: 10_000, maxAgeMs: 900_000 },
        deadLetters: { owner: 'orders-team', retentionMs: 1_209_600_000 },
      },
    },
  })
}

/** A system's poller and claimer, and the parameters that each reads its URL from. */
function makeFunctions(
  system: string,
  streams: string,
  environment: Readonly<Record<string, string>> = {},
  timeoutSeconds?: number,
) {
  const parameters = { poller: redisUrlOf(system, 'poller'), claimer: redisUrlOf(system, 'claimer') }
  const make = (part: keyof typeof parameters, description: string) =>
    makeFunction(system, part, description, { ...environment, REDIS_URL_PARAMETER: parameters[part] }, timeoutSeconds)
  return {
    poller: make('poller', `Polls the consumers of ${streams}`),
    claimer: make('claimer', `Claims what the consumers of ${streams} left behind`),
    parameters,
  }
}

/** A function that polls nothing. */
function makeReader(
  system: string,
  part: string,
  description: string,
  environment: Readonly<Record<string, string>> = {},
) {
  const parameter = redisUrlOf(system, part)
  const fn = makeFunction(system, part, description, { ...environment, REDIS_URL_PARAMETER: parameter })
  // enough for a parameter under the account's own key; one under another key needs kms:Decrypt on that
  const resources = [stack.formatArn({ service: 'ssm', resource: 'parameter', resourceName: parameter.slice(1) })]
  fn.addToRolePolicy(new PolicyStatement({ actions: ['ssm:GetParameter'], resources }))
  return fn
}

function makeFunction(
  system: string,
  part: string,
  description: string,
  environment: Readonly<Record<string, string>>,
  timeoutSeconds = 55, // a handler's 10 s and the reserve fit in five times, and it ends before the next minute's starts
): NodejsFunction {
  const id = `${capitalized(system)}${capitalized(part)}`
  const fn = new NodejsFunction(stack, id, {
    description,
    runtime: Runtime.NODEJS_24_X,
    architecture: Architecture.ARM_64,
    memorySize: 512,
    timeout: Duration.seconds(timeoutSeconds),
    entry: join(root, `functions/${system}/${part}.ts`),
    projectRoot: root,
    depsLockFilePath: join(root, 'package-lock.json'),
    environment: {
      NODE_OPTIONS: '--enable-source-maps',
      ...environment, // the name of the parameter of its URL: what it holds is fetched when the function starts, and is in no template
    },
    logGroup: new LogGroup(stack, `${id}Log`, {
      retention: RetentionDays.ONE_MONTH,
      removalPolicy: RemovalPolicy.DESTROY,
    }),
    bundling: {
      // as in bundle.yml
      format: OutputFormat.ESM,
      target: 'node24',
      minify: true,
      sourceMap: true,
      sourcesContent: false,
      externalModules: ['@aws-sdk/*', 'supports-color'],
      esbuildArgs: { '--alias:debug': './infra/no-debug.cjs' },
      banner: `import { createRequire as makeRequire } from 'node:module'; const require = makeRequire(import.meta.url);`,
    },
  })
  attachToNetwork(fn)
  logins.set(`${system}-${part}`, { fn, parameter: redisUrlOf(system, part) })
  return fn
}

/** By reference: the CDK's own `vpc` would want to know the subnets' ids when the template is made. */
function attachToNetwork(fn: NodejsFunction): void {
  const resource = fn.node.defaultChild as CfnFunction
  resource.vpcConfig = { subnetIds: subnetIds.valueAsList, securityGroupIds: securityGroupIds.valueAsList }
  const policies = ['AWSLambdaBasicExecutionRole', 'AWSLambdaVPCAccessExecutionRole']
  fn.role?.addManagedPolicy(ManagedPolicy.fromAwsManagedPolicyName(`service-role/${policies[1]}`))
  Validations.of(fn).acknowledge(
    ...policies.map((policy) => ({
      id: `AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/${policy}]`,
      reason: 'What the CDK itself gives a function: to write logs, and to have network interfaces in a VPC.',
    })),
  )
}

function idsFrom(id: string, type: string, parameter: string): CfnParameter {
  return idFrom(id, `List<AWS::EC2::${type}::Id>`, parameter)
}

function idFrom(id: string, type: string, parameter: string): CfnParameter {
  return new CfnParameter(stack, id, {
    type: `AWS::SSM::Parameter::Value<${type}>`,
    default: `/millrace/${stage}/network/${parameter}`,
  })
}

function redisUrlOf(system: string, part: string): string {
  return `/millrace/${stage}/${system}/${part}-redis-url`
}

/** `fan-out` is `FanOut`. */
function capitalized(name: string): string {
  return name.replace(/(?:^|-)(\w)/g, (_, letter: string) => letter.toUpperCase())
}
