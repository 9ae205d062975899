/** A resource of a template, spelled as CloudFormation spells it. */
export interface CloudFormationResource {
  /** Logical id; unique within a stack, and the same for the same resource of another consumer. */
  readonly id: string
  /** As in `AWS::Scheduler::Schedule`. */
  readonly type: string
  readonly properties: Readonly<Record<string, unknown>>
  /** Whose it is: a function's, or all consumers' of the stack; only the consumer's where nothing is said. */
  readonly owner?: 'poller' | 'claimer' | 'janitor' | 'stack'
}

/** A function that others invoke. */
export interface InvokedFunction {
  /** Stem of the logical ids of what belongs to it, as in `OrdersPoller`. */
  readonly id: string
  /** What people read of it; its id where nothing is said. */
  readonly title?: string
  /** Its name: text, or a reference. */
  readonly name: unknown
  /** Its ARN: text, or a reference. */
  readonly arn: unknown
}

/** A reference that the template resolves, as in `{ Ref: 'AlarmTopic' }` or `{ 'Fn::ImportValue': 'alarm-topic' }`. */
export type TemplateReference = Readonly<Record<string, unknown>>

/** How a description refers to a resource that it describes, by that resource's id. */
export interface TemplateReferences {
  /** What CloudFormation's `Ref` answers for it. */
  ref(id: string): unknown
  /** What `Fn::GetAtt` answers for it, as in `attribute('OrdersPollerRole', 'Arn')`. */
  attribute(id: string, name: string): unknown
}

/** References by logical ids as they are, for a template that is written as such. */
export const logicalIdReferences: TemplateReferences = {
  ref: (id) => ({ Ref: id }),
  attribute: (id, name) => ({ 'Fn::GetAtt': [id, name] }),
}

/** An IAM statement, as a policy document has it. */
export interface IamStatement {
  readonly Sid?: string
  readonly Effect: 'Allow' | 'Deny'
  readonly Principal?: unknown
  readonly Action: string | readonly string[]
  readonly Resource?: unknown
  readonly Condition?: Readonly<Record<string, unknown>>
}

/** A policy of these statements. */
export function iamPolicyDocument(statements: readonly IamStatement[]): Readonly<Record<string, unknown>> {
  return { Version: '2012-10-17', Statement: statements }
}

/** An ARN in the partition, region and account that the stack is in. */
export function arnReference(service: string, resource: string): TemplateReference {
  return { 'Fn::Sub': `arn:\${AWS::Partition}:${service}:\${AWS::Region}:\${AWS::AccountId}:${resource}` }
}
