import { resolveIntrinsics, type TemplateKnownValues } from './intrinsics.ts'
import { functionArn } from './variables.ts'

/** A CloudFormation template, as far as it matters here. */
export interface PackagedTemplate {
  readonly Parameters?: Readonly<Record<string, { readonly Type?: string; readonly Default?: unknown }>>
  readonly Resources?: Readonly<Record<string, { readonly Type: string; readonly Properties?: ResourceProperties }>>
}

export type ResourceProperties = Readonly<Record<string, unknown>>

/** The stack that the template would become. */
export interface LocalStackIdentity {
  readonly region: string
  readonly accountId: string
  readonly stackName: string
}

/** A resource with what can be resolved of its properties. */
export interface TemplateResource {
  readonly id: string
  readonly type: string
  readonly properties: ResourceProperties
}

const FUNCTION = 'AWS::Lambda::Function'

/** Every resource, resolved in two rounds: functions' names first, since other resources refer to functions. */
export function resolveTemplate(
  { Resources = {}, Parameters = {} }: PackagedTemplate,
  names: LocalStackIdentity,
): TemplateResource[] {
  const refs = new Map<string, unknown>([
    ['AWS::Region', names.region],
    ['AWS::AccountId', names.accountId],
    ['AWS::StackName', names.stackName],
    ['AWS::Partition', 'aws'],
    ['AWS::URLSuffix', 'amazonaws.com'],
  ])
  // a parameter of the parameter store names where its value is, and is not the value
  for (const [name, { Type = '', Default }] of Object.entries(Parameters))
    if (!Type.startsWith('AWS::SSM::')) refs.set(name, Default)
  const attributes = new Map<string, unknown>()
  const scope: TemplateKnownValues = { refs, attributes }
  for (const [id, { Type, Properties = {} }] of Object.entries(Resources)) {
    if (Type !== FUNCTION) continue
    const name = `${resolveIntrinsics(Properties.FunctionName, scope) ?? id}`
    refs.set(id, name)
    attributes.set(`${id}.Arn`, functionArn(name, names))
  }
  return Object.entries(Resources).map(([id, { Type, Properties = {} }]) => ({
    id,
    type: Type,
    properties: {
      ...(resolveIntrinsics(Properties, scope) as ResourceProperties),
      ...(Type === FUNCTION && { FunctionName: refs.get(id) }),
    },
  }))
}
