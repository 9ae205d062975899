import { Stack, Validations } from 'aws-cdk-lib'
import type { IFunction } from 'aws-cdk-lib/aws-lambda'
import type { IConstruct } from 'constructs'

// What cdk-nag's AwsSolutions finds in what is described, and why it stands: an app that runs it need not say so itself.

/** @param construct The role that decrypts. */
export function acknowledgeKeys(construct: IConstruct): void {
  Validations.of(construct).acknowledge({
    id: 'AwsSolutions-IAM5[Resource::arn:<AWS::Partition>:kms:<AWS::Region>:<AWS::AccountId>:key/*]',
    reason:
      "Whichever key of this account encrypts the function's own parameters: the conditions leave room for those alone, and only through SSM.",
  })
}

/** @param construct The policy by which the function invokes itself. */
export function acknowledgeVersions(construct: IConstruct, fn: IFunction): void {
  const arn = Stack.of(construct).resolve(fn.functionArn)
  // the rule writes a reference to an attribute as <Id.Attribute>
  const shown = typeof arn === 'string' ? arn : `<${arn['Fn::GetAtt']?.join('.')}>`
  Validations.of(construct).acknowledge({
    id: `AwsSolutions-IAM5[Resource::${shown}:*]`,
    reason: 'The wildcard stands for the versions and aliases of this one function.',
  })
}

/** @param construct The queue for failed schedules. */
export function acknowledgeDeadLetterQueue(construct: IConstruct): void {
  Validations.of(construct).acknowledge({
    id: 'AwsSolutions-SQS3',
    reason: 'The queue is a dead-letter queue itself: that of the schedules.',
  })
}
