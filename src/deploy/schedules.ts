import type { EventSourceSettings } from './event-source.ts'
import type { CloudFormationResource, IamStatement, InvokedFunction, TemplateReferences } from './resources.ts'
import { iamPolicyDocument } from './resources.ts'

/** Ids of what the consumers of a stack share. */
const GROUP = 'RedisStreamSchedules'
const QUEUE = 'RedisStreamFailedSchedules'

/** The next tick is the retry, and what waited longer than a minute is overtaken by it. */
const NO_RETRY = { MaximumRetryAttempts: 0, MaximumEventAgeInSeconds: 60 }

/** SQS keeps nothing longer. */
const FOURTEEN_DAYS_IN_SECONDS = 1_209_600

interface ScheduleParts {
  readonly poller: InvokedFunction
  readonly claimer: InvokedFunction
  readonly references: TemplateReferences
  readonly failedSchedulesKey?: unknown
}

/** How often a function is woken, and where what fails goes. */
type Tick = Pick<EventSourceSettings, 'schedule' | 'enabled' | 'failedSchedules'>

interface JanitorScheduleParts extends Pick<ScheduleParts, 'references' | 'failedSchedulesKey'> {
  readonly janitor: InvokedFunction
}

/** Where a failed tick goes. */
interface Queue {
  readonly arn: unknown
  readonly keyArn: unknown
}

/**
 * What wakes a consumer's functions: their schedules, the role that each needs, and where a failed tick goes.
 *
 * Schedules are all equal: a poller takes the lowest free slot, whoever woke it.
 */
export function createScheduleResources(
  settings: EventSourceSettings,
  { poller, claimer, references, failedSchedulesKey }: ScheduleParts,
): CloudFormationResource[] {
  const { failedSchedules } = settings
  const queue = { arn: failedSchedules ?? references.attribute(QUEUE, 'Arn'), keyArn: failedSchedulesKey }
  return [
    { id: GROUP, owner: 'stack', type: 'AWS::Scheduler::ScheduleGroup', properties: {} },
    ...(failedSchedules === undefined ? describeQueue(references) : []),
    ...ownedBy('poller', describeTicks(poller, settings.pollers, settings, queue, references)),
    ...ownedBy('claimer', describeTicks(claimer, 1, settings, queue, references)),
  ]
}

/** What wakes a janitor: the same, for one function. */
export function createJanitorScheduleResources(
  settings: Tick,
  { janitor, references, failedSchedulesKey }: JanitorScheduleParts,
): CloudFormationResource[] {
  const { failedSchedules } = settings
  const queue = { arn: failedSchedules ?? references.attribute(QUEUE, 'Arn'), keyArn: failedSchedulesKey }
  return [
    { id: GROUP, owner: 'stack', type: 'AWS::Scheduler::ScheduleGroup', properties: {} },
    ...(failedSchedules === undefined ? describeQueue(references) : []),
    ...ownedBy('janitor', describeTicks(janitor, 1, settings, queue, references)),
  ]
}

function ownedBy(
  owner: 'poller' | 'claimer' | 'janitor',
  resources: readonly CloudFormationResource[],
): CloudFormationResource[] {
  return resources.map((resource) => ({ ...resource, owner }))
}

function describeTicks(
  target: InvokedFunction,
  count: number,
  { schedule, enabled }: Pick<Tick, 'schedule' | 'enabled'>,
  queue: Queue,
  references: TemplateReferences,
): CloudFormationResource[] {
  const roleId = `${target.id}ScheduleRole`
  const properties = {
    Description: `Wakes ${target.title ?? target.id}: ${schedule}`,
    GroupName: references.ref(GROUP),
    ScheduleExpression: schedule,
    FlexibleTimeWindow: { Mode: 'OFF' },
    State: enabled ? 'ENABLED' : 'DISABLED',
    Target: {
      Arn: target.arn,
      RoleArn: references.attribute(roleId, 'Arn'),
      RetryPolicy: NO_RETRY,
      DeadLetterConfig: { Arn: queue.arn },
    },
  }
  const schedules = Array.from({ length: count }, (_, index) => ({
    id: `${target.id}Schedule${index === 0 ? '' : index + 1}`,
    type: 'AWS::Scheduler::Schedule',
    properties,
  }))
  return [...schedules, describeRole(roleId, target, queue, references), describeInvokeConfig(target)]
}

/**
 * The role of a function's schedules: it may invoke this function and report what failed, and only schedules of this stack may take it.
 *
 * @see https://docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html
 */
function describeRole(
  id: string,
  target: InvokedFunction,
  queue: Queue,
  references: TemplateReferences,
): CloudFormationResource {
  const policy = iamPolicyDocument([
    { Sid: 'Wake', Effect: 'Allow', Action: 'lambda:InvokeFunction', Resource: target.arn },
    { Sid: 'ReportFailure', Effect: 'Allow', Action: 'sqs:SendMessage', Resource: queue.arn },
    ...encryptionStatements(queue),
  ])
  return {
    id,
    type: 'AWS::IAM::Role',
    properties: {
      AssumeRolePolicyDocument: trustOfSchedules(references),
      Policies: [{ PolicyName: 'wake', PolicyDocument: policy }],
    },
  }
}

/** Schedules of this group take the role, and nobody else does. */
function trustOfSchedules(references: TemplateReferences) {
  const from = {
    'aws:SourceAccount': { Ref: 'AWS::AccountId' },
    'aws:SourceArn': references.attribute(GROUP, 'Arn'),
  }
  return iamPolicyDocument([
    {
      Effect: 'Allow',
      Principal: { Service: 'scheduler.amazonaws.com' },
      Action: 'sts:AssumeRole',
      Condition: { StringEquals: from },
    },
  ])
}

/** Without these, an encrypted queue refuses what the role sends, and the failed tick is lost. */
function encryptionStatements({ keyArn }: Queue): IamStatement[] {
  if (keyArn === undefined) return []
  return [{ Sid: 'EncryptFailure', Effect: 'Allow', Action: ['kms:GenerateDataKey', 'kms:Decrypt'], Resource: keyArn }]
}

/** Scheduler invokes asynchronously: without this, Lambda would retry a failure twice, and keep a throttled tick for hours. */
function describeInvokeConfig({ id, name }: InvokedFunction): CloudFormationResource {
  return {
    id: `${id}EventInvokeConfig`,
    type: 'AWS::Lambda::EventInvokeConfig',
    properties: { FunctionName: name, Qualifier: '$LATEST', ...NO_RETRY },
  }
}

/** Where Scheduler puts what it could not deliver: encrypted, and only over TLS. */
function describeQueue(references: TemplateReferences): CloudFormationResource[] {
  const policy = iamPolicyDocument([
    {
      Sid: 'OnlyOverTls',
      Effect: 'Deny',
      Principal: '*',
      Action: 'sqs:*',
      Resource: references.attribute(QUEUE, 'Arn'),
      Condition: { Bool: { 'aws:SecureTransport': 'false' } },
    },
  ])
  return [
    {
      id: QUEUE,
      owner: 'stack',
      type: 'AWS::SQS::Queue',
      properties: { SqsManagedSseEnabled: true, MessageRetentionPeriod: FOURTEEN_DAYS_IN_SECONDS },
    },
    {
      id: `${QUEUE}Policy`,
      owner: 'stack',
      type: 'AWS::SQS::QueuePolicy',
      properties: { Queues: [references.ref(QUEUE)], PolicyDocument: policy },
    },
  ]
}
