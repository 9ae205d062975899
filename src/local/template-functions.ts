import { basename } from 'node:path'
import type { FunctionDefinition } from './definitions.ts'
import type { ResourceProperties, TemplateResource } from './template-resources.ts'

/** A function whose code is still in its zip. */
export interface TemplateFunction extends Omit<FunctionDefinition, 'codeFolder'> {
  readonly logicalId: string
  /** The name of the zip file. */
  readonly zip: string
}

/** @param skipped Gets a sentence for each function that is not run locally. */
export function readTemplateFunctions(resources: readonly TemplateResource[], skipped: string[]): TemplateFunction[] {
  const invokeConfigs = resources.filter(({ type }) => type === 'AWS::Lambda::EventInvokeConfig')
  const functions = []
  for (const { id, type, properties } of resources) {
    if (type !== 'AWS::Lambda::Function') continue
    const { FunctionName: name, Runtime, Code } = properties
    const key = (Code as ResourceProperties | undefined)?.S3Key
    if (typeof key !== 'string' || !`${Runtime}`.startsWith('nodejs')) {
      skipped.push(`Function ${name} is not run locally: only zip packages for Node.js are`)
      continue
    }
    const invokeConfig = invokeConfigs.find((one) => one.properties.FunctionName === name)?.properties ?? {}
    functions.push({ logicalId: id, zip: basename(key), ...functionOf(properties, invokeConfig) })
  }
  return functions
}

function functionOf(
  properties: ResourceProperties,
  invokeConfig: ResourceProperties,
): Omit<FunctionDefinition, 'codeFolder'> {
  const variables = (properties.Environment as ResourceProperties | undefined)?.Variables ?? {}
  const seconds = (value: unknown) => number(value, 1_000)
  return withoutUndefined({
    name: properties.FunctionName as string,
    handler: properties.Handler as string,
    environment: Object.fromEntries(Object.entries(variables).map(([name, value]) => [name, `${value}`])),
    timeoutMs: seconds(properties.Timeout),
    memoryMb: number(properties.MemorySize),
    reservedConcurrency: number(properties.ReservedConcurrentExecutions),
    maxRetryAttempts: number(invokeConfig.MaximumRetryAttempts),
    maxEventAgeMs: seconds(invokeConfig.MaximumEventAgeInSeconds),
  })
}

function number(value: unknown, factor = 1): number | undefined {
  return value === undefined ? undefined : Number(value) * factor
}

type WithoutUndefined<T> = { [K in keyof T]: Exclude<T[K], undefined> }

function withoutUndefined<T extends object>(members: T): WithoutUndefined<T> {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as WithoutUndefined<T>
}
