import {
  type CfnResource,
  DefaultTokenResolver,
  Fn,
  type IPostProcessor,
  type IResolvable,
  type IResolveContext,
  Reference,
  StringConcat,
  Token,
  Tokenization,
} from 'aws-cdk-lib'
import { CfnAlarm, CfnDashboard } from 'aws-cdk-lib/aws-cloudwatch'
import { CfnRole } from 'aws-cdk-lib/aws-iam'
import { CfnEventInvokeConfig } from 'aws-cdk-lib/aws-lambda'
import { CfnSchedule, CfnScheduleGroup } from 'aws-cdk-lib/aws-scheduler'
import { CfnQueue, CfnQueuePolicy } from 'aws-cdk-lib/aws-sqs'
import type { Construct } from 'constructs'
import { isTemplateReference } from '../join.ts'
import type { CloudFormationResource } from '../resources.ts'
import { acknowledgeNagQueueWithoutDlq } from './acknowledge.ts'

type CfnClass = new (scope: Construct, id: string, props: never) => CfnResource

const CLASSES: Readonly<Record<string, CfnClass>> = {
  'AWS::CloudWatch::Alarm': CfnAlarm,
  'AWS::CloudWatch::Dashboard': CfnDashboard,
  'AWS::IAM::Role': CfnRole,
  'AWS::Lambda::EventInvokeConfig': CfnEventInvokeConfig,
  'AWS::Scheduler::Schedule': CfnSchedule,
  'AWS::Scheduler::ScheduleGroup': CfnScheduleGroup,
  'AWS::SQS::Queue': CfnQueue,
  'AWS::SQS::QueuePolicy': CfnQueuePolicy,
}

/** What was made of which description, to know ours from the user's and to notice where two consumers disagree. */
const described = new WeakMap<Construct, CloudFormationResource>()

/**
 * The resource as a construct of its own type; if the scope has it already, as for what consumers share, that one.
 *
 * @throws {TypeError} The scope has something else under that id.
 */
export function createCfnResource(scope: Construct, id: string, resource: CloudFormationResource): CfnResource {
  const there = scope.node.tryFindChild(id) as CfnResource | undefined
  if (there === undefined) {
    const Class = classOf(resource.type)
    const made = new Class(scope, id, propsOf(resource.properties) as never)
    described.set(made, resource)
    if (made instanceof CfnQueue) acknowledgeNagQueueWithoutDlq(made)
    return made
  }
  if (!described.has(there)) throw new TypeError(refusal(scope, id, resource))
  return there
}

/**
 * Checks that a construct which was there already is what this consumer wants, too, once all that it refers to is there.
 *
 * @throws {TypeError} It is not.
 */
export function assertSameResource(made: CfnResource, resource: CloudFormationResource): void {
  const former = described.get(made) as CloudFormationResource
  if (former === resource || isSame(made, former, resource)) return
  throw new TypeError(
    `schedule, enabled and onFailedSchedule cannot differ between the consumers of a function, got two descriptions of ${made.node.path}`,
  )
}

/** References, as the CDK takes them where text belongs. */
export function replaceReferencesByTokens(value: unknown): unknown {
  return convert(value, (name, member) => [name, replaceReferencesByTokens(member)])
}

function convert(value: unknown, convertMember: (name: string, member: unknown) => [string, unknown]): unknown {
  if (isTemplateReference(value)) return tokenOf(value)
  if (Array.isArray(value)) return value.map((item) => convert(item, convertMember))
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, member]) => convertMember(name, member)))
}

function tokenOf(reference: Readonly<Record<string, unknown>>): string {
  const join = reference['Fn::Join'] as [string, unknown[]] | undefined
  // the CDK's own join flattens what it finds inside
  return join === undefined
    ? Token.asString(reference)
    : Fn.join(join[0], replaceReferencesByTokens(join[1]) as string[])
}

function classOf(type: string): CfnClass {
  const Class = CLASSES[type]
  if (Class === undefined) throw new TypeError(`${type} cannot be made, got no class for it`)
  return Class
}

/** What is ours differs between two consumers only by objects that mean the same once they are in the template. */
function isSame(scope: Construct, one: CloudFormationResource, other: CloudFormationResource): boolean {
  const resolver = new PathResolver(new StringConcat())
  const [a, b] = [one, other].map(({ type, properties }) =>
    JSON.stringify(Tokenization.resolve({ type, properties }, { scope, resolver, preparing: false })),
  )
  return a === b
}

/** Names what is referred to by its path: until the template is made, those of two stacks look the same if their logical ids are. */
class PathResolver extends DefaultTokenResolver {
  override resolveToken(token: IResolvable, context: IResolveContext, postProcessor: IPostProcessor): unknown {
    if (Reference.isReference(token)) return `<${token.target.node.path}.${token.displayName}>`
    return super.resolveToken(token, context, postProcessor)
  }
}

function refusal(scope: Construct, id: string, { type }: CloudFormationResource): string {
  if (type === 'AWS::Lambda::EventInvokeConfig') {
    return (
      `function cannot have an asynchronous invocation configuration of its own (configureAsyncInvoke, retryAttempts, maxEventAge, ` +
      `onFailure, onSuccess), got one at ${scope.node.path}: the event source turns Lambda's retries off`
    )
  }
  return `${type} cannot be made, got another construct at ${scope.node.path}/${id}`
}

/** `FlexibleTimeWindow: { Mode }` as `flexibleTimeWindow: { mode }`; documents, which the CDK hands on as they are, keep their spelling. */
function propsOf(value: unknown): unknown {
  return convert(value, (name, member) => [
    camelCase(name),
    name.endsWith('PolicyDocument') ? replaceReferencesByTokens(member) : propsOf(member),
  ])
}

/** `OKActions` is `okActions`. */
function camelCase(name: string): string {
  return name.replace(/^[A-Z]+(?=[A-Z][a-z])|^[A-Z]/, (head) => head.toLowerCase())
}
