import { type CfnResource, Stack, Token } from 'aws-cdk-lib'
import { Policy, PolicyStatement } from 'aws-cdk-lib/aws-iam'
import { CfnFunction, type Function as DeployedFunction, type IFunction } from 'aws-cdk-lib/aws-lambda'
import type { Construct } from 'constructs'
import { quotedValue } from '../../errors.ts'
import { EVENT_SOURCE_VARIABLE } from '../../run/event-source.ts'
import { type EventSourceSettings, encodeEnvironmentOverrides } from '../event-source.ts'
import { toLogicalId } from '../ids.ts'
import type { IamStatement, InvokedFunction } from '../resources.ts'
import { acknowledgeNagKeyWildcard, acknowledgeNagVersionWildcard } from './acknowledge.ts'
import { replaceReferencesByTokens } from './create-cfn-resource.ts'

/** The name of a parameter of a consumer that is a function. */
export type FunctionProp = 'poller' | 'claimer'

const SERVICE = 'POWERTOOLS_SERVICE_NAME'

/** What a function is, and of which consumers, in the order they were added: its environment speaks of all of them. */
const usesOf = new WeakMap<IFunction, { readonly part: FunctionProp; readonly consumers: EventSourceSettings[] }>()

/**
 * Poller and claimer by ids that differ: those of functions in two stacks may be the same, and so may `Orders/Handler` and `OrdersHandler`.
 *
 * @throws {TypeError} A version or an alias, which has schedules and retries of its own.
 */
export function toInvokedFunctions(
  fns: Readonly<Record<FunctionProp, IFunction>>,
): Record<FunctionProp, InvokedFunction> {
  const poller = toInvokedFunction('poller', fns.poller)
  const claimer = toInvokedFunction('claimer', fns.claimer)
  const { id } = claimer
  return { poller, claimer: id === poller.id ? { ...claimer, id: `${id}Claimer`, title: id } : claimer }
}

/** @throws {TypeError} A version or an alias. */
export function toInvokedFunction(part: FunctionProp | 'janitor', fn: IFunction): InvokedFunction {
  // an import shows only by its ARN: arn:aws:lambda:eu-west-1:123456789012:function:orders-poller:live
  if ('version' in fn || fn.functionArn.split(':').length > 7) {
    throw new TypeError(
      `${part} cannot be a version or an alias, got ${fn.node.path}: schedules, permissions and retries are those of the function itself`,
    )
  }
  return { id: toLogicalId(pathInStack(fn)), name: fn.functionName, arn: fn.functionArn }
}

/**
 * The service that both functions report under: what was given, or what their environment says, or the stack's name. Functions that say
 * nothing yet say it from now on.
 *
 * @throws {TypeError} They say different things, or are not known.
 */
export function sharedServiceName(
  scope: Construct,
  fns: Readonly<Partial<Record<FunctionProp | 'janitor', IFunction>>>,
  given?: string,
): string {
  const stack = Stack.of(scope)
  const said = Object.entries(fns).map(([part, fn]) => ({ part, fn, service: environmentOf(fn)[SERVICE] }))
  const service = given ?? said.find((one) => one.service !== undefined)?.service ?? stack.stackName
  // another stack would read it as its own name
  if (service === stack.stackName && Token.isUnresolved(service) && said.some(({ fn }) => Stack.of(fn) !== stack)) {
    throw new TypeError(
      `serviceName must be given where a nested stack has a function of another stack, got none in ${stack.node.path}, whose name only ` +
        'the deployment knows',
    )
  }
  for (const one of said) {
    if (isImported(one.fn)) {
      if (given !== undefined) continue
      throw new TypeError(
        `serviceName must be given where the ${one.part} is imported, got ${one.fn.node.path}, whose environment is set elsewhere: ` +
          `it is the ${SERVICE} that its metrics are reported under`,
      )
    }
    if (one.service === undefined) addEnvironment(one.fn, SERVICE, service as string)
    else if (JSON.stringify(one.service) !== JSON.stringify(stack.resolve(service))) {
      throw new TypeError(
        `${SERVICE} cannot differ between poller, claimer and serviceName, got ${quotedValue(one.service)} in the ${one.part} and ` +
          JSON.stringify(stack.resolve(service)),
      )
    }
  }
  return typeof service === 'string' ? service : Token.asString(service)
}

/** @returns What is wrong when the template is made: somebody may have changed the environment since. */
export function findServiceNameProblems(scope: Construct, fns: readonly IFunction[], service: string): string[] {
  const expected = Stack.of(scope).resolve(service)
  return fns
    .filter((fn) => !isImported(fn))
    .map((fn) => ({ fn, now: environmentOf(fn)[SERVICE] }))
    .filter(({ now }) => JSON.stringify(now) !== JSON.stringify(expected))
    .map(
      ({ fn, now }) =>
        `${SERVICE} of ${fn.node.path} cannot change after the event source was added, got ${quotedValue(now)}: alarms and dashboard ` +
        `search for ${quotedValue(expected)}`,
    )
}

/**
 * Puts what this consumer overrides into a function's environment, beside its other consumers'.
 *
 * @throws {TypeError} The function is imported, so that its environment cannot be set, or is a poller that another number of schedules wakes, or
 *   that may not run as often, or is the other part of another consumer.
 */
export function addEnvironmentOverrides(part: FunctionProp, fn: IFunction, settings: EventSourceSettings): void {
  const { part: known, consumers } = usesOf.get(fn) ?? { part, consumers: [] }
  if (known !== part) {
    throw new TypeError(
      `${part} cannot be the ${known} of another consumer, got ${fn.node.path}: a function either polls or claims`,
    )
  }
  if (part === 'poller') assertConcurrency(fn, settings)
  const other = part === 'poller' && consumers.find(({ pollers }) => pollers !== settings.pollers)
  if (other) {
    throw new TypeError(
      `pollers cannot differ between the consumers of a function, got ${settings.pollers} and, with group ` +
        `${other.group}, ${other.pollers}`,
    )
  }
  consumers.push(settings)
  usesOf.set(fn, { part, consumers })
  const overrides = encodeEnvironmentOverrides(consumers)
  if (overrides === undefined) return
  if (isImported(fn)) {
    throw new TypeError(
      `${Object.keys(settings.overrides).join(', ')} cannot be given where the ${part} is imported, got ${fn.node.path}, whose ` +
        'environment is set elsewhere: say it in defineConsumer, or where the function is declared',
    )
  }
  addEnvironment(fn, EVENT_SOURCE_VARIABLE, overrides)
}

/** @throws {TypeError} The janitor is imported, so that its environment cannot be set. */
export function addJanitorEnvironment(fn: IFunction, name: string, value: string): void {
  if (isImported(fn)) {
    throw new TypeError(
      `maxLength, retention, groups and ignoreGroups cannot be given where the janitor is imported, got ${fn.node.path}, whose environment is ` +
        'set elsewhere: say it in createJanitor, or where the function is declared',
    )
  }
  addEnvironment(fn, name, value)
}

function assertConcurrency(fn: IFunction, { pollers }: EventSourceSettings): void {
  const reserved = resourceOf(fn)?.reservedConcurrentExecutions
  // a token is a number, too; 0 is how a function is switched off
  if (typeof reserved !== 'number' || Token.isUnresolved(reserved) || reserved === 0 || reserved >= pollers) return
  throw new RangeError(
    `pollers cannot be over the poller's reservedConcurrentExecutions, got pollers ${pollers} and, in ${fn.node.path}, ${reserved}`,
  )
}

/**
 * Lets a function do what it needs to. What speaks of the function's own ARN becomes a policy beside the role's own: the function needs that
 * one first, and so it cannot refer to the function.
 *
 * @throws {TypeError} An imported function without a role, which nothing can be added to.
 */
export function addRoleStatements(
  scope: Construct,
  fn: IFunction,
  part: FunctionProp | 'janitor',
  statements: readonly IamStatement[],
): void {
  const own = statements.filter(({ Sid }) => Sid === 'InvokeItself')
  const others = statements.filter((statement) => !own.includes(statement))
  if (fn.role === undefined) {
    if (statements.length === 0) return
    throw new TypeError(
      `${part} cannot be imported without its role, got ${fn.node.path}, which needs ${statements.map(({ Sid }) => Sid).join(', ')}: import ` +
        'it by Function.fromFunctionAttributes() with functionArn and role',
    )
  }
  for (const statement of others) fn.addToRolePolicy(asPolicyStatement(statement))
  acknowledgeNagKeyWildcard(fn.role)
  if (own.length === 0 || scope.node.tryFindChild('InvokeItself') !== undefined) return
  const policy = new Policy(scope, 'InvokeItself', { statements: own.map(asPolicyStatement), roles: [fn.role] })
  acknowledgeNagVersionWildcard(policy, fn)
}

/** `Orders/Poller` of a stack is `Orders/Poller`, wherever the stack itself is. */
function pathInStack(construct: IFunction): string {
  const { scopes } = construct.node
  return scopes
    .slice(scopes.indexOf(Stack.of(construct)) + 1)
    .map(({ node }) => node.id)
    .join('/')
}

function isImported(fn: IFunction): boolean {
  return !('addEnvironment' in fn)
}

function addEnvironment(fn: IFunction, name: string, value: string): void {
  ;(fn as DeployedFunction).addEnvironment(name, value)
}

function environmentOf(fn: IFunction): Readonly<Record<string, unknown>> {
  return Stack.of(fn).resolve(resourceOf(fn)?.environment)?.variables ?? {}
}

/** The function in the template; a `SingletonFunction` stands for one that is elsewhere in the tree. */
function resourceOf(fn: IFunction): CfnFunction | undefined {
  const resource = fn.permissionsNode.defaultChild as CfnResource | undefined
  // an app may have two copies of the CDK: by what it is in CloudFormation, not by its class
  return resource?.cfnResourceType === CfnFunction.CFN_RESOURCE_TYPE_NAME ? (resource as CfnFunction) : undefined
}

/** Without its `Sid`: those of a policy must differ, and another consumer of the function may say the same of other resources. */
function asPolicyStatement({ Sid: _sid, ...statement }: IamStatement): PolicyStatement {
  return PolicyStatement.fromJson(replaceReferencesByTokens(statement))
}
