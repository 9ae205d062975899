import type { Schema } from './option-rows.ts'
import type { Template } from './template.ts'

/** What the plugin reads and writes of osls, and of Serverless 3; neither has types of it. */
export interface Serverless {
  readonly service: ServerlessService
  readonly configSchemaHandler: { defineFunctionEvent(provider: string, name: string, schema: Schema): void }
  readonly classes: { readonly Error: new (message: string, code: string) => Error }
  getProvider(name: 'aws'): AwsProvider
}

interface ServerlessService {
  readonly functions?: Readonly<Record<string, ServerlessFunction>>
  readonly provider: {
    readonly compiledCloudFormationTemplate: Template
    readonly environment?: Readonly<Record<string, unknown>>
    readonly logRetentionInDays?: number
  }
  readonly resources?: { readonly extensions?: Readonly<Record<string, { readonly Properties?: Properties }>> }
}

/** A function as it was configured; what is written to it is compiled. */
export interface ServerlessFunction {
  /** The deployed function's. */
  readonly name: string
  readonly events?: readonly unknown[]
  readonly disableLogs?: boolean
  /** The option of serverless-iam-roles-per-function. */
  readonly iamRoleStatements?: unknown
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
