import { describe, expect, test } from 'vitest'
import type { CloudFormationResource } from '../../../src/deploy/resources.ts'
import { addTemplateResources, type CloudFormationTemplate } from '../../../src/deploy/serverless/template.ts'

const QUEUE: CloudFormationResource = { id: 'Queue', type: 'AWS::SQS::Queue', properties: { DelaySeconds: 1 } }

function invokeConfig(id: string, properties: object): CloudFormationResource {
  return {
    id,
    type: 'AWS::Lambda::EventInvokeConfig',
    properties: { FunctionName: { Ref: 'Poller' }, Qualifier: '$LATEST', ...properties },
  }
}

describe('addTemplateResources()', () => {
  test('keeps one of what is described twice', () => {
    const template: CloudFormationTemplate = { Resources: {} }
    addTemplateResources(template, [QUEUE, { ...QUEUE }])

    expect(template.Resources).toEqual({ Queue: { Type: 'AWS::SQS::Queue', Properties: { DelaySeconds: 1 } } })
  })

  test('refuses another resource of the same id', () => {
    const add = () => addTemplateResources({ Resources: {} }, [QUEUE, { ...QUEUE, properties: {} }])

    expect(add).toThrow(
      new TypeError(
        'Cannot add AWS::SQS::Queue to the template: its id must be unique, got Queue, which another AWS::SQS::Queue has',
      ),
    )
  })

  test('fills in what a configuration of asynchronous invocations that is there leaves open', () => {
    const template: CloudFormationTemplate = { Resources: {} }
    addTemplateResources(template, [
      invokeConfig('Theirs', { MaximumRetryAttempts: 1 }),
      invokeConfig('Ours', { MaximumRetryAttempts: 0, MaximumEventAgeInSeconds: 60 }),
    ])

    expect(Object.keys(template.Resources)).toEqual(['Theirs'])
    expect(template.Resources.Theirs?.Properties).toMatchObject({
      MaximumRetryAttempts: 1,
      MaximumEventAgeInSeconds: 60,
    })
  })
})
