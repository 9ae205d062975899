import { type CfnResource, Lazy, Stack, Token } from 'aws-cdk-lib'
import type { CfnAlarm, CfnDashboard } from 'aws-cdk-lib/aws-cloudwatch'
import type { IFunction } from 'aws-cdk-lib/aws-lambda'
import { Construct } from 'constructs'
import { createConsumerResources } from '../consumer-resources.ts'
import type { EventSourceSettings } from '../event-source.ts'
import { toLogicalId } from '../ids.ts'
import { claimerIamStatements, pollerIamStatements } from '../permissions.ts'
import type { CloudFormationResource, InvokedFunction, TemplateReferences } from '../resources.ts'
import { assertSameResource, createCfnResource } from './create-cfn-resource.ts'
import {
  addEnvironmentOverrides,
  addRoleStatements,
  findServiceNameProblems,
  sharedServiceName,
  toInvokedFunctions,
} from './functions.ts'
import { failedScheduleKeyArn, type RedisStreamConsumerProps, resolveProps } from './props.ts'

/** The alarms of a consumer; one that was switched off is not there. */
export interface RedisStreamAlarms {
  readonly noPoll?: CfnAlarm
  readonly oldestPending?: CfnAlarm
  readonly deadLetters?: CfnAlarm
  readonly deadLettersFull?: CfnAlarm
  readonly pollerFailing?: CfnAlarm
  readonly claimerFailing?: CfnAlarm
  readonly lost?: CfnAlarm
  readonly lag?: CfnAlarm
}

/**
 * A consumer of a Redis stream: schedules that wake its two functions, what they may do, alarms, and a dashboard. The functions, their
 * network, memory and timeouts stay yours.
 *
 * The resources are those that the plugin `millrace/serverless` makes, from the same description. What two consumers share is made once:
 * schedules by the function, and the queue for failed schedules by the stack.
 */
export class RedisStreamConsumer extends Construct {
  readonly poller: IFunction
  readonly claimer: IFunction
  /** What both functions report their metrics under. */
  readonly serviceName: string
  readonly alarms: RedisStreamAlarms
  readonly dashboard?: CfnDashboard
  /** By the description's ids. */
  readonly #resources = new Map<string, CfnResource>()

  /** @throws {TypeError | RangeError} A prop that cannot be deployed; the message says the rule and the value. */
  constructor(scope: Construct, id: string, props: RedisStreamConsumerProps) {
    super(scope, id)
    const { poller, claimer } = props
    if (poller === claimer) throw new TypeError(`claimer cannot be the poller itself, got ${poller.node.path} for both`)
    this.poller = poller
    this.claimer = claimer
    const settings = resolveProps(props)
    const targets = toInvokedFunctions({ poller, claimer })
    const stem = stemOf(this, settings)
    this.serviceName = sharedServiceName(this, { poller, claimer }, props.serviceName)
    this.node.addValidation({ validate: () => findServiceNameProblems(this, [poller, claimer], this.serviceName) })
    addEnvironmentOverrides('poller', poller, settings)
    addEnvironmentOverrides('claimer', claimer, settings)
    this.#addPermissions(settings)
    const parts = {
      id: stem,
      service: this.serviceName,
      ...targets,
      references: this.#references(),
      failedSchedulesKey: failedScheduleKeyArn(props),
    }
    const resources = createConsumerResources(settings, parts)
    for (const resource of resources) this.#add(resource, stem, targets)
    for (const resource of resources) assertSameResource(this.#resources.get(resource.id) as CfnResource, resource)
    this.alarms = this.#alarms(stem)
    const dashboard = this.#resources.get(`${stem}Dashboard`) as CfnDashboard | undefined
    if (dashboard !== undefined) this.dashboard = dashboard
  }

  #addPermissions(settings: EventSourceSettings): void {
    for (const [part, statementsOf] of [
      ['poller', pollerIamStatements],
      ['claimer', claimerIamStatements],
    ] as const) {
      const fn = this[part]
      // the CDK gives a function's role what logging and a VPC take
      const own = { arn: fn.functionArn, versionsArn: `${fn.functionArn}:*`, logGroupArn: undefined, inVpc: false }
      addRoleStatements(this.#scopeOf(fn), fn, part, statementsOf(settings, own))
    }
  }

  #add(
    resource: CloudFormationResource,
    stem: string,
    targets: Readonly<Record<'poller' | 'claimer', InvokedFunction>>,
  ): void {
    const [scope, id] = this.#placeOf(resource, stem, targets)
    this.#resources.set(resource.id, createCfnResource(scope, id, resource))
  }

  /** Under whose name a resource stands in the tree, so that it says whose it is. */
  #placeOf(
    resource: CloudFormationResource,
    stem: string,
    targets: Readonly<Record<'poller' | 'claimer', InvokedFunction>>,
  ): [Construct, string] {
    const { id, owner } = resource
    if (owner === 'stack') return [Stack.of(this), id]
    if (owner === undefined || owner === 'janitor') return [this, id.slice(stem.length)]
    return [this.#scopeOf(this[owner]), id.slice(targets[owner].id.length)]
  }

  /** What belongs to a function stands beneath it, or, if that is in another stack, beneath what stands for it in this one. */
  #scopeOf(fn: IFunction): Construct {
    const stack = Stack.of(this)
    if (Stack.of(fn) === stack) return fn
    const id = `RedisStream:${fn.node.addr}`
    return (stack.node.tryFindChild(id) as Construct | undefined) ?? new Construct(stack, id)
  }

  /** Described before it is made: whoever refers to it gets it when the template is made. */
  #references(): TemplateReferences {
    const made = (id: string) => this.#resources.get(id) as CfnResource
    return {
      ref: (id) => Lazy.string({ produce: () => made(id).ref }),
      attribute: (id, name) => Lazy.string({ produce: () => made(id).getAtt(name).toString() }),
    }
  }

  #alarms(stem: string): RedisStreamAlarms {
    const alarms = [...this.#resources]
      .filter(([, resource]) => resource.cfnResourceType === 'AWS::CloudWatch::Alarm')
      .map(([id, alarm]) => [id.slice(stem.length, -'Alarm'.length), alarm] as const)
      .map(([name, alarm]) => [name.charAt(0).toLowerCase() + name.slice(1), alarm])
    return Object.fromEntries(alarms)
  }
}

/** The consumers of each stack, by their stems. */
const consumersOf = new WeakMap<Stack, Map<string, Named>>()

interface Named {
  readonly stream: string
  readonly group: string
  readonly path: string
}

/**
 * What the ids of a consumer start with, `OrdersBilling` as in the plugin's templates; what its construct is called where only the deployment
 * knows the names, or where those of another give the same.
 *
 * @throws {TypeError} The stack has that consumer already.
 */
function stemOf(construct: Construct, { stream, group }: EventSourceSettings): string {
  const known = consumersOf.get(Stack.of(construct)) ?? new Map<string, Named>()
  consumersOf.set(Stack.of(construct), known)
  const { path } = construct.node
  const stem = Token.isUnresolved(stream + group) ? toLogicalId(path) : toLogicalId(stream) + toLogicalId(group)
  const other = known.get(stem)
  if (other?.stream === stream && other.group === group) {
    throw new TypeError(
      `group cannot be used twice for a stream in one stack, got ${group} on ${stream} at ${other.path}, too`,
    )
  }
  const free = other === undefined ? stem : toLogicalId(path)
  known.set(free, { stream, group, path })
  return free
}
