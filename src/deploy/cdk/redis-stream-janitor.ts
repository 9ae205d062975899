import { type CfnResource, type Duration, Lazy, Stack } from 'aws-cdk-lib'
import type { CfnAlarm } from 'aws-cdk-lib/aws-cloudwatch'
import type { IFunction } from 'aws-cdk-lib/aws-lambda'
import type { IBucket } from 'aws-cdk-lib/aws-s3'
import type { ScheduleExpression } from 'aws-cdk-lib/aws-scheduler'
import type { ITopic } from 'aws-cdk-lib/aws-sns'
import type { IQueue } from 'aws-cdk-lib/aws-sqs'
import { Construct } from 'constructs'
import type { GroupRegistration } from '../../core/registration.ts'
import { JANITOR_VARIABLE } from '../../janitor/deployed-streams.ts'
import { toLogicalId } from '../ids.ts'
import type { JanitorEventOptions, JanitorSettings } from '../janitor-event.ts'
import { encodeJanitorOverrides, resolveJanitorEvent } from '../janitor-event.ts'
import { createJanitorResources } from '../janitor-resources.ts'
import { janitorIamStatements } from '../permissions.ts'
import type { CloudFormationResource } from '../resources.ts'
import { assertSameResource, createCfnResource } from './create-cfn-resource.ts'
import { addJanitorEnvironment, addRoleStatements, sharedServiceName, toInvokedFunction } from './functions.ts'
import { failedScheduleKeyArn, inCdkWords, scheduleTextOf, withoutUndefined } from './props.ts'

/** A janitor of a Redis stream: the function that trims, and by what. */
export interface RedisStreamJanitorProps {
  /** The function, made by `createJanitor` of `millrace/janitor`; one may trim several streams. */
  readonly janitor: IFunction
  /** The stream's key, as in the code's `createJanitor`. */
  readonly stream: string
  /**
   * Entries that stay, 0 or more.
   *
   * @default what the code says
   */
  readonly maxLength?: number
  /**
   * Time that entries stay.
   *
   * @default what the code says
   */
  readonly retention?: Duration
  /**
   * Groups that the janitor registers, by name.
   *
   * @default those of the code
   */
  readonly groups?: Readonly<Record<string, GroupRegistration>>
  /**
   * Groups whose progress does not count.
   *
   * @default what the code says
   */
  readonly ignoreGroups?: readonly string[]
  /**
   * How often the janitor is woken.
   *
   * @default every five minutes
   */
  readonly schedule?: Duration | ScheduleExpression | string
  /**
   * Whether the schedule runs.
   *
   * @default true
   */
  readonly enabled?: boolean
  /**
   * Names of the SSM parameters that the function may read and decrypt.
   *
   * @default none
   */
  readonly parameters?: string | readonly string[]
  /**
   * The bucket that `s3Archive` writes to: the function may put objects there.
   *
   * @default none
   */
  readonly archiveBucket?: IBucket
  /**
   * Takes what the schedule could not deliver.
   *
   * @default one queue a stack
   */
  readonly onFailedSchedule?: IQueue
  /**
   * The function's `POWERTOOLS_SERVICE_NAME`. Must be given with an imported function.
   *
   * @default what its environment says already, otherwise the stack's name
   */
  readonly serviceName?: string
  /**
   * Hears of every alarm, and of its end.
   *
   * @default alarms notify nobody
   */
  readonly alarmTopic?: ITopic
  /**
   * When the alarms go off; `false`: there are none.
   *
   * @default every alarm, with its default
   */
  readonly alarms?: { readonly maxBlocked?: Duration } | false
}

/** The alarms of a janitor. */
export interface RedisStreamJanitorAlarms {
  readonly trimmedAhead?: CfnAlarm
  readonly blocked?: CfnAlarm
  readonly failing?: CfnAlarm
}

/** The streams of each janitor, in the order they were added: its environment speaks of all of them. */
const streamsOf = new WeakMap<IFunction, JanitorSettings[]>()

/**
 * A janitor of a Redis stream: the schedule that wakes it, what it may do, and alarms. The function stays yours.
 *
 * The resources are those that the plugin `millrace/serverless` makes, from the same description.
 */
export class RedisStreamJanitor extends Construct {
  readonly janitor: IFunction
  readonly alarms: RedisStreamJanitorAlarms
  readonly #resources = new Map<string, CfnResource>()

  /** @throws {TypeError | RangeError} A prop that cannot be deployed; the message says the rule and the value. */
  constructor(scope: Construct, id: string, props: RedisStreamJanitorProps) {
    super(scope, id)
    const { janitor } = props
    this.janitor = janitor
    const settings = resolve(props)
    const target = toInvokedFunction('janitor', janitor)
    const stem = `${toLogicalId(settings.stream)}Janitor`
    const service = sharedServiceName(this, { janitor }, props.serviceName)
    addOverrides(janitor, settings)
    const own = {
      arn: janitor.functionArn,
      versionsArn: `${janitor.functionArn}:*`,
      logGroupArn: undefined,
      inVpc: false,
    }
    addRoleStatements(this, janitor, 'janitor', janitorIamStatements(settings, own))
    const made = (name: string) => this.#resources.get(name) as CfnResource
    const resources = createJanitorResources(settings, {
      id: stem,
      service,
      janitor: target,
      references: {
        ref: (name) => Lazy.string({ produce: () => made(name).ref }),
        attribute: (name, attribute) => Lazy.string({ produce: () => made(name).getAtt(attribute).toString() }),
      },
      failedSchedulesKey: failedScheduleKeyArn(props),
    })
    for (const resource of resources) {
      const [parent, name] = this.#placeOf(resource, stem, target.id)
      this.#resources.set(resource.id, createCfnResource(parent, name, resource))
    }
    for (const resource of resources) assertSameResource(made(resource.id), resource)
    const alarm = (name: string) => this.#resources.get(`${stem}${name}Alarm`) as CfnAlarm | undefined
    this.alarms = withoutUndefined({
      trimmedAhead: alarm('TrimmedAhead'),
      blocked: alarm('Blocked'),
      failing: alarm('Failing'),
    })
  }

  /** What the stack shares stands at its top, what is the function's beneath it, and all else here. */
  #placeOf({ id, owner }: CloudFormationResource, stem: string, targetId: string): [Construct, string] {
    const stack = Stack.of(this)
    if (owner === 'stack') return [stack, id]
    if (owner === undefined) return [this, id.slice(stem.length)]
    return [Stack.of(this.janitor) === stack ? this.janitor : this, id.slice(targetId.length)]
  }
}

const ACTION = 'add Redis stream'

function resolve(props: RedisStreamJanitorProps): JanitorSettings {
  const { stream, maxLength, groups, ignoreGroups, enabled, parameters, alarms } = props
  const options = withoutUndefined({
    stream,
    maxLength,
    groups,
    ignoreGroups,
    enabled,
    parameters,
    retentionMs: props.retention?.toMilliseconds(),
    schedule: props.schedule && scheduleTextOf(props.schedule),
    archiveBucket: props.archiveBucket?.bucketName,
    failedSchedules: props.onFailedSchedule?.queueArn,
    alarms:
      alarms !== false &&
      withoutUndefined({ topic: props.alarmTopic?.topicArn, maxBlockedMs: alarms?.maxBlocked?.toMilliseconds() }),
  }) as unknown as JanitorEventOptions
  try {
    return resolveJanitorEvent(ACTION, options)
  } catch (error) {
    const Kind = error instanceof RangeError ? RangeError : TypeError
    throw new Kind(inCdkWords((error as Error).message), { cause: error })
  }
}

/** @throws {TypeError | RangeError} The stream has a janitor already, or the function's environment cannot be set. */
function addOverrides(fn: IFunction, settings: JanitorSettings): void {
  const streams = streamsOf.get(fn) ?? []
  if (streams.some(({ stream }) => stream === settings.stream))
    throw new TypeError(`stream cannot be given twice to a janitor, got ${settings.stream} in ${fn.node.path}`)
  streams.push(settings)
  streamsOf.set(fn, streams)
  const overrides = encodeJanitorOverrides(ACTION, streams)
  if (overrides !== undefined) addJanitorEnvironment(fn, JANITOR_VARIABLE, overrides)
}
