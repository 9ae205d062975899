import type { IamStatement, TemplateReference } from '../resources.ts'
import { arnReference } from '../resources.ts'
import type { AsyncInvokeDestination, ServerlessFunction } from './serverless.ts'

/** What an ARN's service, or the type that a destination names, lets a function do there. */
const SENDING: Readonly<Record<string, string>> = {
  sns: 'sns:Publish',
  sqs: 'sqs:SendMessage',
  events: 'events:PutEvents',
  eventBus: 'events:PutEvents',
  lambda: 'lambda:InvokeFunction',
  function: 'lambda:InvokeFunction',
}

/** Where a function's own options are found once osls has compiled it. */
type PropertyOf = (name: string) => unknown

/**
 * What osls adds to the role that it makes for all, and to no other: what Lambda itself does in the function's name, because of the options
 * `onError`, `kmsKeyArn`, `fileSystemConfig` and `destinations`.
 */
export function sharedRoleStatements(
  { destinations }: Pick<ServerlessFunction, 'destinations'>,
  propertyOf: PropertyOf,
  functions: Readonly<Record<string, ServerlessFunction>>,
): IamStatement[] {
  const { TargetArn: onError } = (propertyOf('DeadLetterConfig') ?? {}) as { TargetArn?: unknown }
  const key = propertyOf('KmsKeyArn')
  const fileSystems = (propertyOf('FileSystemConfigs') ?? []) as readonly { readonly Arn: unknown }[]
  const targets = [destinations?.onSuccess, destinations?.onFailure].filter((target) => target != null)
  return [
    ...(onError === undefined ? [] : [allow(sendingTo(onError), onError)]),
    ...(key === undefined ? [] : [allow(['kms:Decrypt'], key)]),
    ...fileSystems.map(({ Arn }) => allow(['elasticfilesystem:ClientMount', 'elasticfilesystem:ClientWrite'], Arn)),
    ...targets.map((target) => toDestination(target, functions)),
  ]
}

function toDestination(
  target: AsyncInvokeDestination,
  functions: Readonly<Record<string, ServerlessFunction>>,
): IamStatement {
  if (typeof target === 'object') return allow([SENDING[target.type] as string], target.arn)
  if (target.startsWith('arn:')) return allow(sendingTo(target), target)
  const { name = target, targetAlias } = functions[target] ?? {}
  // by its name: a reference to a function whose role this is would be circular
  return allow(
    ['lambda:InvokeFunction'],
    arnReference('lambda', `function:${[name, targetAlias?.name].filter(Boolean).join(':')}`),
  )
}

/** A reference may stand for either of the two that take what failed. */
function sendingTo(arn: unknown): readonly string[] {
  if (typeof arn !== 'string') return ['sns:Publish', 'sqs:SendMessage']
  return [SENDING[arn.split(':')[2] as string] ?? 'sns:Publish']
}

function allow(Action: readonly string[], Resource: unknown): IamStatement {
  return { Effect: 'Allow', Action, Resource: Resource as string | TemplateReference }
}
