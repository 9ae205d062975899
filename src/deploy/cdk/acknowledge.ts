import { Stack, Validations } from 'aws-cdk-lib'
import type { IFunction } from 'aws-cdk-lib/aws-lambda'
import type { IConstruct } from 'constructs'

// What cdk-nag's AwsSolutions finds in what is described, and why it stands: an app that runs it need not say so itself.

/** @param construct The role that decrypts. */
export function acknowledgeNagKeyWildcard(construct: IConstruct): void {
  Validations.of(construct).acknowledge({
    id: 'AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:kms:<AWS::Region>:<AWS::AccountId>:key/*]',
    reason:
      "Whichever key of this account encrypts the function's own parameters: the conditions leave room only for those, and only through SSM.",
  })
}

/** @param construct The policy by which the function invokes itself. */
export function acknowledgeNagVersionWildcard(construct: IConstruct, fn: IFunction): void {
  const show = () => asTheRuleShows(Stack.of(construct).resolve(fn.functionArn))
  const acknowledge = (arn: string) =>
    Validations.of(construct).acknowledge({
      id: `AwsSolutions-IAM5[Resource::${arn}:*]`,
      reason: 'The wildcard stands for the versions and aliases of this one function.',
    })
  const known = new Set([show()])
  known.forEach(acknowledge)
  // how a stack refers to a function of another is decided when the template is made
  const validate = () => {
    const arn = show()
    if (!known.has(arn)) acknowledge(arn)
    known.add(arn)
    return []
  }
  construct.node.addValidation({ validate })
}

/** A reference as text: `<Id.Attribute>` for an attribute, `<Id>` for another, and the name of what is imported. */
function asTheRuleShows(value: unknown): string {
  if (typeof value === 'string') return value
  const { Ref, ...functions } = value as { readonly Ref?: string } & Readonly<Record<string, unknown>>
  const { 'Fn::GetAtt': attribute, 'Fn::ImportValue': name, 'Fn::Join': join } = functions
  if (Ref !== undefined) return `<${Ref}>`
  if (attribute !== undefined) return `<${(attribute as string[]).join('.')}>`
  if (name !== undefined) return asTheRuleShows(name)
  if (join === undefined) return JSON.stringify(value)
  const [delimiter, parts] = join as [string, unknown[]]
  return parts.map(asTheRuleShows).join(delimiter)
}

/** @param construct The queue for failed schedules. */
export function acknowledgeNagQueueWithoutDlq(construct: IConstruct): void {
  Validations.of(construct).acknowledge({
    id: 'AwsSolutions-SQS3',
    reason: 'The queue is a dead-letter queue itself: that of the schedules.',
  })
}
