import { isDeepStrictEqual } from 'node:util'
import type { CloudFormationResource } from '../resources.ts'

/** A CloudFormation template, as far as resources are concerned. */
export interface CloudFormationTemplate {
  readonly Resources: Record<string, TemplateResource>
}

interface TemplateResource {
  readonly Type: string
  readonly Condition?: string
  Properties?: Readonly<Record<string, unknown>>
}

/** What the consumers of a stack have in common, whichever of them are deployed. */
const SHARED = new Set(['AWS::Scheduler::ScheduleGroup', 'AWS::SQS::Queue', 'AWS::SQS::QueuePolicy'])

/**
 * Adds resources to a template. One that is there already stays, if it is the same: consumers share what belongs to their functions.
 *
 * @param condition The condition under which they are made; what all consumers share is made in any case. Default: none.
 * @throws {TypeError} Another resource has that id.
 */
export function addTemplateResources(
  template: CloudFormationTemplate,
  resources: readonly CloudFormationResource[],
  condition?: string,
): void {
  for (const { id, type, properties } of resources) {
    const isConditional = condition !== undefined && !SHARED.has(type)
    const resource = { Type: type, ...(isConditional && { Condition: condition }), Properties: properties }
    if (isInvokeConfig(resource) && fillInvokeConfig(template, id, properties)) continue
    const there = template.Resources[id]
    if (there !== undefined && !isDeepStrictEqual(there, resource)) {
      throw new TypeError(
        `Cannot add ${type} to the template: its id must be unique, got ${id}, which another ${there.Type} has`,
      )
    }
    template.Resources[id] = resource
  }
}

/**
 * A function has one configuration of asynchronous invocations. Where `destinations` or the like made one, what is set there stays, and the
 * rest is as described.
 */
function fillInvokeConfig(
  template: CloudFormationTemplate,
  id: string,
  properties: CloudFormationResource['properties'],
): boolean {
  const others = Object.entries(template.Resources).filter(
    ([other, resource]) => other !== id && isInvokeConfig(resource),
  )
  const [, same] = others.find(([, { Properties }]) => isOfSameFunction(Properties, properties)) ?? []
  if (same === undefined) return false
  same.Properties = { ...properties, ...same.Properties }
  return true
}

function isInvokeConfig({ Type }: TemplateResource): boolean {
  return Type === 'AWS::Lambda::EventInvokeConfig'
}

function isOfSameFunction(one: TemplateResource['Properties'], other: CloudFormationResource['properties']): boolean {
  return isDeepStrictEqual([one?.FunctionName, one?.Qualifier], [other.FunctionName, other.Qualifier])
}
