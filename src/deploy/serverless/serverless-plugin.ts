import { quoted } from '../../errors.ts'
import { EVENT_SOURCE_VARIABLE } from '../../run/event-source.ts'
import { describeConsumer } from '../consumer-resources.ts'
import { overridesOf, redisStreamSchema } from '../event-source.ts'
import { idOf } from '../ids.ts'
import type { FunctionPermissions } from '../permissions.ts'
import { claimerStatements, describeFunctionRole, pollerStatements } from '../permissions.ts'
import type { FunctionTarget, Resource } from '../resources.ts'
import { arnOf, plainReferences } from '../resources.ts'
import { optionStatements } from './function-statements.ts'
import { providerRole } from './provider-role.ts'
import type { Serverless, ServerlessFunction } from './serverless.ts'
import type { ConsumerFunction, ServiceConsumer } from './service-consumers.ts'
import { consumersOf, functionsOf } from './service-consumers.ts'
import { addResources } from './template.ts'

const STATEMENTS = { poller: pollerStatements, claimer: claimerStatements }

/**
 * Plugin of osls, and of Serverless 3: the event `redisStream`, put at the poller, deploys a consumer. The functions' own properties
 * (`role`, `environment`, `logRetentionInDays`, `reservedConcurrency`) win over what the event says of them.
 */
class RedisStreamPlugin {
  readonly hooks: Readonly<Record<string, () => void>>
  readonly #serverless: Serverless
  #consumers: readonly ServiceConsumer[] = []
  /** Ids of the roles that are ours to describe, by the function's name. */
  readonly #roles = new Map<string, string>()

  constructor(serverless: Serverless) {
    this.#serverless = serverless
    serverless.configSchemaHandler.defineFunctionEvent('aws', 'redisStream', redisStreamSchema)
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
    this.#consumers = consumersOf(functions ?? {}, logRetentionInDays === undefined ? {} : { logRetentionInDays })
    for (const fn of functionsOf(this.#consumers)) this.#configureFunction(fn)
  }

  #configureFunction({ name, part, consumers }: ConsumerFunction): void {
    const fn = this.#function(name)
    const [{ logRetentionInDays, reservedConcurrency }] = consumers
    const overrides = overridesOf(consumers)
    fn.environment = {
      POWERTOOLS_SERVICE_NAME: this.#serviceName(fn),
      ...(overrides !== undefined && { [EVENT_SOURCE_VARIABLE]: overrides }),
      ...fn.environment,
    }
    fn.logRetentionInDays ??= logRetentionInDays
    if (reservedConcurrency[part] !== undefined) fn.reservedConcurrency ??= reservedConcurrency[part]
  }

  #assignRoles(): void {
    for (const { name } of functionsOf(this.#consumers)) {
      const fn = this.#function(name)
      if (this.#hasRole(fn)) continue
      const role = `${this.#naming.getNormalizedFunctionName(name)}Role`
      fn.role = role
      this.#roles.set(name, role)
    }
  }

  #addResources(): void {
    const template = this.#serverless.service.provider.compiledCloudFormationTemplate
    for (const fn of functionsOf(this.#consumers))
      addResources(template, this.#describeRole(fn), this.#function(fn.name).condition)
    for (const { settings, poller, claimer } of this.#consumers) {
      const parts = {
        id: idOf(settings.stream) + idOf(settings.group),
        service: this.#commonServiceName(poller, claimer),
        poller: this.#target(poller),
        claimer: this.#target(claimer),
        references: plainReferences,
      }
      addResources(template, describeConsumer(settings, parts), this.#commonCondition(poller, claimer))
    }
  }

  #describeRole({ name, part, consumers: [settings] }: ConsumerFunction): Resource[] {
    const id = this.#roles.get(name)
    if (id === undefined) return []
    const { provider, functions = {} } = this.#serverless.service
    const more = optionStatements(this.#function(name), (property) => this.#property(name, property), functions)
    const statements = [...STATEMENTS[part](settings, this.#permissions(name)), ...more]
    return [describeFunctionRole(id, statements, providerRole(provider))]
  }

  #permissions(name: string): FunctionPermissions {
    const fn = this.#function(name)
    return {
      arn: arnOf('lambda', `function:${fn.name}`),
      versionsArn: arnOf('lambda', `function:${fn.name}:*`),
      logGroupArn: fn.disableLogs ? undefined : this.#logGroupArn(name),
      inVpc: this.#property(name, 'VpcConfig') !== undefined,
      traced: this.#property(name, 'TracingConfig') !== undefined,
    }
  }

  /** Its own, unless the function writes to another. */
  #logGroupArn(name: string): unknown {
    const { LogGroup: group } = (this.#property(name, 'LoggingConfig') ?? {}) as { LogGroup?: unknown }
    if (group === undefined) return plainReferences.attribute(this.#naming.getLogGroupLogicalId(name), 'Arn')
    if (typeof group === 'string') return arnOf('logs', `log-group:${group}:*`)
    return { 'Fn::Sub': [arnOf('logs', `log-group:\${LogGroup}:*`)['Fn::Sub'], { LogGroup: group }] }
  }

  /** As an option of the function or the provider set it, or an extension of the resource. */
  #property(name: string, property: string): unknown {
    const { provider, resources } = this.#serverless.service
    const id = this.#naming.getLambdaLogicalId(name)
    const compiled = provider.compiledCloudFormationTemplate.Resources[id]
    return resources?.extensions?.[id]?.Properties?.[property] ?? compiled?.Properties?.[property]
  }

  #target(name: string): FunctionTarget {
    const id = this.#naming.getLambdaLogicalId(name)
    return {
      id: this.#naming.getNormalizedFunctionName(name),
      name: plainReferences.ref(id),
      arn: plainReferences.attribute(id, 'Arn'),
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
      `Cannot deploy functions ${quoted(poller)} and ${quoted(claimer)}: condition must be the same in both, got ` +
        `${quoted(one) ?? 'none'} and ${quoted(other) ?? 'none'}`,
    )
  }

  #commonServiceName(poller: string, claimer: string): string {
    const [one, other] = [poller, claimer].map((name) => this.#serviceName(this.#function(name)))
    if (typeof one === 'string' && one === other) return one
    throw new TypeError(
      `Cannot alarm for functions ${quoted(poller)} and ${quoted(claimer)}: POWERTOOLS_SERVICE_NAME must be the same text ` +
        `in both, got ${quoted(one)} and ${quoted(other)}`,
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
