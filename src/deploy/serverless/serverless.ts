import type { JsonSchema } from '../option-rows.ts'
import type { IamStatement, TemplateReference } from '../resources.ts'
import type { CloudFormationTemplate } from './template.ts'

/** What the plugin reads and writes of osls, and of Serverless 3; neither has types of it. */
export interface ServerlessFramework {
  readonly service: ServerlessService
  readonly configSchemaHandler: { defineFunctionEvent(provider: string, name: string, schema: JsonSchema): void }
  readonly classes: { readonly Error: new (message: string, code: string) => Error }
  getProvider(name: 'aws'): AwsProvider
}

interface ServerlessService {
  readonly functions?: Readonly<Record<string, ServerlessFunction>>
  readonly provider: ServerlessProvider
  readonly resources?: { readonly extensions?: Readonly<Record<string, { readonly Properties?: Properties }>> }
}

/** `provider`, as far as it is read. */
export interface ServerlessProvider {
  readonly compiledCloudFormationTemplate: CloudFormationTemplate
  readonly environment?: Readonly<Record<string, unknown>>
  readonly logRetentionInDays?: number
  /** A role that exists is text; one that osls makes is described. */
  readonly iam?: { readonly role?: string | RoleOptions }
  /** Older names of what is in `iam.role`. */
  readonly iamRoleStatements?: readonly IamStatement[]
  readonly iamManagedPolicies?: readonly unknown[]
  readonly rolePermissionsBoundary?: unknown
}

interface RoleOptions {
  readonly path?: string
  readonly permissionsBoundary?: unknown
  /** The same, as it was spelled once. */
  readonly permissionBoundary?: unknown
  readonly managedPolicies?: readonly unknown[]
  readonly tags?: Readonly<Record<string, string>>
  readonly statements?: readonly IamStatement[]
}

/** Where Lambda sends what became of an asynchronous invocation: an ARN, the name of a function here, or a reference with its type. */
export type AsyncInvokeDestination = string | { readonly type: string; readonly arn: TemplateReference }

/** A function as it was configured; what is written to it is compiled. */
export interface ServerlessFunction {
  /** The deployed function's. */
  readonly name: string
  readonly events?: readonly unknown[]
  readonly disableLogs?: boolean
  /** Name of the condition under which it is deployed. */
  readonly condition?: string
  /** The option of serverless-iam-roles-per-function. */
  readonly iamRoleStatements?: unknown
  readonly destinations?: { readonly onSuccess?: AsyncInvokeDestination; readonly onFailure?: AsyncInvokeDestination }
  readonly targetAlias?: { readonly name: string }
  environment?: Readonly<Record<string, unknown>>
  logRetentionInDays?: number
  reservedConcurrency?: number
  role?: unknown
}

interface AwsProvider {
  readonly naming: {
    getStackName(): string
    getNormalizedFunctionName(name: string): string
    getLambdaLogicalId(name: string): string
    getLogGroupLogicalId(name: string): string
  }
  /** The role that a function was given, by itself or for all. */
  getCustomExecutionRole(fn: ServerlessFunction): unknown
}

type Properties = Readonly<Record<string, unknown>>
