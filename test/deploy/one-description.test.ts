import { rmSync } from 'node:fs'
import { App, CfnResource, Stack } from 'aws-cdk-lib'
import { Template } from 'aws-cdk-lib/assertions'
import { Code, Function as DeployedFunction, Runtime } from 'aws-cdk-lib/aws-lambda'
import { RedisStreamConsumer } from 'millrace/cdk'
import { afterAll, expect, test } from 'vitest'
import { createConsumerResources } from '../../src/deploy/consumer-resources.ts'
import { resolveEventSource } from '../../src/deploy/event-source.ts'
import { claimerIamStatements, pollerIamStatements } from '../../src/deploy/permissions.ts'
import { type CloudFormationResource, type IamStatement, logicalIdReferences } from '../../src/deploy/resources.ts'

const OPTIONS = {
  schedule: 'rate(2 minutes)',
  pollers: 2,
  enabled: true,
  batchSize: 50,
  parameters: { poller: ['/shop/a', '/shop/b'], claimer: '/shop/c' },
  targets: ['arn:aws:lambda:eu-west-1:123456789012:function:notify'],
  cacheClusterId: 'cache-001',
}
const TOPIC = 'arn:aws:sns:eu-west-1:123456789012:on-call'

const app = new App({ context: { '@aws-cdk/core:validateAgainstDefaultRules': false } })
const stack = new Stack(app, 'Shop')
afterAll(() => rmSync(app.outdir, { recursive: true, force: true }))
const poller = makeFunction('OrdersPoller')
const claimer = makeFunction('OrdersClaimer')
const consumer = new RedisStreamConsumer(stack, 'Billing', {
  ...OPTIONS,
  poller,
  claimer,
  stream: 'orders',
  group: 'billing',
  targets: OPTIONS.targets.map((arn) => DeployedFunction.fromFunctionArn(stack, 'Notify', arn)),
  alarmTopic: { topicArn: TOPIC } as never,
})
const template = Template.fromStack(stack).toJSON()

/** What the construct calls a resource, and what the description does. */
const ids = new Map(
  stack.node
    .findAll()
    .filter((construct) => CfnResource.isCfnResource(construct))
    .map((resource) => [stack.resolve(resource.logicalId) as string, describedId(resource)] as const),
)

const settings = resolveEventSource('test', {
  ...OPTIONS,
  stream: 'orders',
  group: 'billing',
  alarms: { topic: TOPIC },
})

test('the construct makes the resources that the plugin makes, and no others', () => {
  const described = createConsumerResources(settings, {
    id: 'OrdersBilling',
    service: 'Shop',
    poller: targetOf('OrdersPoller'),
    claimer: targetOf('OrdersClaimer'),
    references: logicalIdReferences,
  })

  expect(constructed()).toEqual(byId(described))
})

test("the construct grants functions the plugin's permissions, beside those that the CDK itself grants", () => {
  const permissions = (id: string) => {
    const { arn } = targetOf(id)
    return { arn, versionsArn: { 'Fn::Join': ['', [arn, ':*']] }, logGroupArn: undefined, inVpc: false }
  }

  expect(statementsOf('OrdersPoller')).toEqual(comparable(pollerIamStatements(settings, permissions('OrdersPoller'))))
  expect(statementsOf('OrdersClaimer')).toEqual(
    comparable(claimerIamStatements(settings, permissions('OrdersClaimer'))),
  )
})

function makeFunction(id: string): DeployedFunction {
  return new DeployedFunction(stack, id, {
    handler: 'index.handler',
    runtime: Runtime.NODEJS_24_X,
    code: Code.fromInline('exports.handler = () => {}'),
  })
}

function targetOf(id: string) {
  return {
    id,
    name: logicalIdReferences.ref(`${id}Function`),
    arn: logicalIdReferences.attribute(`${id}Function`, 'Arn'),
  }
}

function describedId(resource: CfnResource): string {
  const { scope, id } = resource.node
  if (scope === consumer) return `OrdersBilling${id}`
  if (scope === poller || scope === claimer) return `${scope.node.id}${id === 'Resource' ? 'Function' : id}`
  return scope === stack ? id : resource.node.path
}

/** What the stack has beside the functions, their roles and their policies, under the description's ids. */
function constructed(): Record<string, unknown> {
  const resources = Object.entries(template.Resources as Record<string, { Type: string; Properties?: object }>).map(
    ([id, { Type, Properties = {} }]) => ({ id: ids.get(id) as string, type: Type, properties: renamed(Properties) }),
  )
  return byId(
    resources.filter(
      ({ id, type }) => !id.includes('/') && type !== 'AWS::Lambda::Function',
    ) as CloudFormationResource[],
  )
}

function byId(resources: readonly CloudFormationResource[]): Record<string, unknown> {
  return Object.fromEntries(resources.map(({ id, type, properties }) => [id, { type, properties: flat(properties) }]))
}

function statementsOf(id: string): unknown[] {
  const policies = Object.entries(template.Resources as Record<string, { Type: string; Properties: never }>).filter(
    ([logicalId, { Type }]) => Type === 'AWS::IAM::Policy' && ids.get(logicalId)?.startsWith(`Shop/${id}/`),
  )
  return comparable(
    policies.flatMap(
      ([, { Properties }]) => (renamed(Properties) as { PolicyDocument: { Statement: [] } }).PolicyDocument.Statement,
    ),
  )
}

/** In any order, without names, and a list of one like that one. */
function comparable(statements: readonly IamStatement[]): unknown[] {
  return statements
    .map(({ Sid: _sid, ...statement }) => flat(unlisted(statement)))
    .sort((a, b) => JSON.stringify(a).localeCompare(JSON.stringify(b)))
}

function unlisted({ Resource, ...statement }: IamStatement): object {
  return { ...statement, Resource: Array.isArray(Resource) && Resource.length === 1 ? Resource[0] : Resource }
}

/** References under the description's ids. */
function renamed(value: object): object {
  return JSON.parse(JSON.stringify(value).replaceAll(/"(\w+)"/g, (all, id) => (ids.has(id) ? `"${ids.get(id)}"` : all)))
}

/** A join within a join is one join. */
function flat(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(flat)
  if (typeof value !== 'object' || value === null) return value
  const { 'Fn::Join': join } = value as { 'Fn::Join'?: [string, unknown[]] }
  if (join?.[0] === '') return { 'Fn::Join': ['', merged(join[1].map(flat))] }
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(members.map(([name, member]) => [name, flat(member)]))
}

function merged(parts: readonly unknown[]): unknown[] {
  const all: unknown[] = []
  for (const part of parts.flatMap((one) => (one as { 'Fn::Join'?: [string, unknown[]] })['Fn::Join']?.[1] ?? [one])) {
    if (typeof part === 'string' && typeof all.at(-1) === 'string') all.push(`${all.pop()}${part}`)
    else all.push(part)
  }
  return all
}
