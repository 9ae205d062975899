import { quotedValue } from '../../errors.ts'
import { JANITOR_VARIABLE } from '../../janitor/deployed-streams.ts'
import { EVENT_SOURCE_VARIABLE } from '../../run/event-source.ts'
import { createConsumerResources } from '../consumer-resources.ts'
import { encodeEnvironmentOverrides, redisStreamEventSchema } from '../event-source.ts'
import { toLogicalId } from '../ids.ts'
import { redisJanitorEventSchema } from '../janitor-event.ts'
import { createJanitorResources } from '../janitor-resources.ts'
import type { FunctionRoleInputs } from '../permissions.ts'
import {
  claimerIamStatements,
  createFunctionRoleResource,
  janitorIamStatements,
  pollerIamStatements,
} from '../permissions.ts'
import type { CloudFormationResource, IamStatement, InvokedFunction } from '../resources.ts'
import { arnReference, logicalIdReferences } from '../resources.ts'
import { sharedRoleStatements } from './function-statements.ts'
import type { ServerlessFramework, ServerlessFunction } from './serverless.ts'
import type { FunctionWithConsumers, ServiceConsumer } from './service-consumers.ts'
import { groupConsumersByFunction, readServiceConsumers } from './service-consumers.ts'
import type { FunctionWithJanitors } from './service-janitors.ts'
import { readServiceJanitors } from './service-janitors.ts'
import { sharedRoleOf } from './shared-role.ts'
import { addTemplateResources } from './template.ts'

const STATEMENTS = { poller: pollerIamStatements, claimer: claimerIamStatements }

/**
 * Plugin of osls, and of Serverless 3: the event `redisStream`, put at the poller, deploys a consumer, and `redisJanitor`, put at a janitor, what trims a stream. The functions' own properties
 * (`role`, `environment`, `logRetentionInDays`, `reservedConcurrency`) win over what the event says of them.
 */
class RedisStreamPlugin {
  readonly hooks: Readonly<Record<string, () => void>>
  readonly #serverless: ServerlessFramework
  #consumers: readonly ServiceConsumer[] = []
  #janitors: readonly FunctionWithJanitors[] = []
  /** Ids of the roles that are ours to describe, by the function's name. */
  readonly #roles = new Map<string, string>()

  constructor(serverless: ServerlessFramework) {
    this.#serverless = serverless
    serverless.configSchemaHandler.defineFunctionEvent('aws', 'redisStream', redisStreamEventSchema)
    serverless.configSchemaHandler.defineFunctionEvent('aws', 'redisJanitor', redisJanitorEventSchema)
    this.hooks = {
      // every command: `deploy function` and `invoke local` want the environment, too
      initialize: () => this.#explain(() => this.#configureFunctions()),
      // only what packages, and before osls looks whether a function still needs its own role: `deploy function` takes a role for deployed
      'before:package:setupProviderConfiguration': () => this.#explain(() => this.#assignRoles()),
      'after:package:compileEvents': () => this.#explain(() => this.#addResources()),
    }
  }

  #configureFunctions(): void {
    const { functions, provider } = this.#serverless.service
    const { logRetentionInDays } = provider
    const defaults = logRetentionInDays === undefined ? {} : { logRetentionInDays }
    this.#consumers = readServiceConsumers(functions ?? {}, defaults)
    this.#janitors = readServiceJanitors(functions ?? {}, defaults)
    for (const fn of groupConsumersByFunction(this.#consumers)) this.#configureFunction(fn)
    for (const janitor of this.#janitors) this.#configureJanitor(janitor)
  }

  #configureFunction({ name, part, consumers }: FunctionWithConsumers): void {
    const fn = this.#function(name)
    const [{ logRetentionInDays, reservedConcurrency }] = consumers
    const overrides = encodeEnvironmentOverrides(consumers)
    fn.environment = {
      POWERTOOLS_SERVICE_NAME: this.#serviceName(fn),
      ...(overrides !== undefined && { [EVENT_SOURCE_VARIABLE]: overrides }),
      ...fn.environment,
    }
    fn.logRetentionInDays ??= logRetentionInDays
    if (reservedConcurrency[part] !== undefined) fn.reservedConcurrency ??= reservedConcurrency[part]
  }

  #configureJanitor({ name, overrides, streams: [{ logRetentionInDays }] }: FunctionWithJanitors): void {
    const fn = this.#function(name)
    fn.environment = {
      POWERTOOLS_SERVICE_NAME: this.#serviceName(fn),
      ...(overrides !== undefined && { [JANITOR_VARIABLE]: overrides }),
      ...fn.environment,
    }
    fn.logRetentionInDays ??= logRetentionInDays
  }

  #assignRoles(): void {
    for (const { name } of [...groupConsumersByFunction(this.#consumers), ...this.#janitors]) {
      const fn = this.#function(name)
      if (this.#hasRole(fn)) continue
      const role = `${this.#naming.getNormalizedFunctionName(name)}Role`
      fn.role = role
      this.#roles.set(name, role)
    }
  }

  #addResources(): void {
    const template = this.#serverless.service.provider.compiledCloudFormationTemplate
    for (const fn of groupConsumersByFunction(this.#consumers))
      addTemplateResources(template, this.#describeRole(fn), this.#function(fn.name).condition)
    for (const { settings, poller, claimer } of this.#consumers) {
      const parts = {
        id: toLogicalId(settings.stream) + toLogicalId(settings.group),
        service: this.#commonServiceName(poller, claimer),
        poller: this.#target(poller),
        claimer: this.#target(claimer),
        references: logicalIdReferences,
      }
      addTemplateResources(template, createConsumerResources(settings, parts), this.#commonCondition(poller, claimer))
    }
    this.#addJanitorResources()
  }

  #addJanitorResources(): void {
    const template = this.#serverless.service.provider.compiledCloudFormationTemplate
    for (const { name, streams } of this.#janitors) {
      const { condition } = this.#function(name)
      const [first] = streams
      addTemplateResources(
        template,
        this.#describeRoleOf(name, janitorIamStatements(first, this.#permissions(name))),
        condition,
      )
      for (const settings of streams) {
        const parts = {
          id: `${toLogicalId(settings.stream)}Janitor`,
          service: this.#commonServiceName(name, name),
          janitor: this.#target(name),
          references: logicalIdReferences,
        }
        addTemplateResources(template, createJanitorResources(settings, parts), condition)
      }
    }
  }

  #describeRole({ name, part, consumers: [settings] }: FunctionWithConsumers): CloudFormationResource[] {
    return this.#describeRoleOf(name, STATEMENTS[part](settings, this.#permissions(name)))
  }

  #describeRoleOf(name: string, own: readonly IamStatement[]): CloudFormationResource[] {
    const id = this.#roles.get(name)
    if (id === undefined) return []
    const { provider, functions = {} } = this.#serverless.service
    const more = sharedRoleStatements(this.#function(name), (property) => this.#property(name, property), functions)
    return [createFunctionRoleResource(id, [...own, ...more], sharedRoleOf(provider))]
  }

  #permissions(name: string): FunctionRoleInputs {
    const fn = this.#function(name)
    return {
      arn: arnReference('lambda', `function:${fn.name}`),
      versionsArn: arnReference('lambda', `function:${fn.name}:*`),
      logGroupArn: fn.disableLogs ? undefined : this.#logGroupArn(name),
      inVpc: this.#property(name, 'VpcConfig') !== undefined,
      traced: this.#property(name, 'TracingConfig') !== undefined,
    }
  }

  /** Its own, unless the function writes to another. */
  #logGroupArn(name: string): unknown {
    const { LogGroup: group } = (this.#property(name, 'LoggingConfig') ?? {}) as { LogGroup?: unknown }
    if (group === undefined) return logicalIdReferences.attribute(this.#naming.getLogGroupLogicalId(name), 'Arn')
    if (typeof group === 'string') return arnReference('logs', `log-group:${group}:*`)
    return { 'Fn::Sub': [arnReference('logs', `log-group:\${LogGroup}:*`)['Fn::Sub'], { LogGroup: group }] }
  }

  /** As an option of the function or the provider set it, or an extension of the resource. */
  #property(name: string, property: string): unknown {
    const { provider, resources } = this.#serverless.service
    const id = this.#naming.getLambdaLogicalId(name)
    const compiled = provider.compiledCloudFormationTemplate.Resources[id]
    return resources?.extensions?.[id]?.Properties?.[property] ?? compiled?.Properties?.[property]
  }

  #target(name: string): InvokedFunction {
    const id = this.#naming.getLambdaLogicalId(name)
    return {
      id: this.#naming.getNormalizedFunctionName(name),
      name: logicalIdReferences.ref(id),
      arn: logicalIdReferences.attribute(id, 'Arn'),
    }
  }

  /** Also where another plugin makes one: serverless-iam-roles-per-function refuses a function that has both. */
  #hasRole(fn: ServerlessFunction): boolean {
    const aws = this.#serverless.getProvider('aws')
    return fn.iamRoleStatements !== undefined || aws.getCustomExecutionRole(fn) !== undefined
  }

  /** Stages that share an account must not share metrics. */
  #serviceName({ environment }: ServerlessFunction): unknown {
    const { provider } = this.#serverless.service
    return (
      environment?.POWERTOOLS_SERVICE_NAME ??
      provider.environment?.POWERTOOLS_SERVICE_NAME ??
      this.#naming.getStackName()
    )
  }

  /** One without the other would never be claimed from, or never polled, and its alarms refer to both. */
  #commonCondition(poller: string, claimer: string): string | undefined {
    const [one, other] = [poller, claimer].map((name) => this.#function(name).condition)
    if (one === other) return one
    throw new TypeError(
      `Cannot deploy functions ${quotedValue(poller)} and ${quotedValue(claimer)}: condition must be the same in both, got ` +
        `${quotedValue(one) ?? 'none'} and ${quotedValue(other) ?? 'none'}`,
    )
  }

  #commonServiceName(poller: string, claimer: string): string {
    const [one, other] = [poller, claimer].map((name) => this.#serviceName(this.#function(name)))
    if (typeof one === 'string' && one === other) return one
    throw new TypeError(
      `Cannot alarm for functions ${quotedValue(poller)} and ${quotedValue(claimer)}: POWERTOOLS_SERVICE_NAME must be the same text ` +
        `in both, got ${quotedValue(one)} and ${quotedValue(other)}`,
    )
  }

  #function(name: string): ServerlessFunction {
    return this.#serverless.service.functions?.[name] as ServerlessFunction
  }

  get #naming() {
    return this.#serverless.getProvider('aws').naming
  }

  /** Shows what is wrong with an event as a user's mistake, without a stack. */
  #explain(work: () => void): void {
    try {
      work()
    } catch (error) {
      if (!(error instanceof TypeError || error instanceof RangeError)) throw error
      throw new this.#serverless.classes.Error(error.message, 'REDIS_STREAM_EVENT_INVALID')
    }
  }
}

// Serverless 3 takes what `require` answers as the plugin, and osls the default
export { RedisStreamPlugin as 'module.exports', RedisStreamPlugin as default }
