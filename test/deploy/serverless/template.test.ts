import { describe, expect, test } from 'vitest'
import type { Resource } from '../../../src/deploy/resources.ts'
import { addResources, type Template } from '../../../src/deploy/serverless/template.ts'

const QUEUE: Resource = { id: 'Queue', type: 'AWS::SQS::Queue', properties: { DelaySeconds: 1 } }

function invokeConfig(id: string, properties: object): Resource {
  return {
    id,
    type: 'AWS::Lambda::EventInvokeConfig',
    properties: { FunctionName: { Ref: 'Poller' }, Qualifier: '$LATEST', ...properties },
  }
}

describe('addResources()', () => {
  test('keeps one of what is described twice', () => {
    const template: Template = { Resources: {} }
    addResources(template, [QUEUE, { ...QUEUE }])

    expect(template.Resources).toEqual({ Queue: { Type: 'AWS::SQS::Queue', Properties: { DelaySeconds: 1 } } })
  })

  test('refuses another resource of the same id', () => {
    const add = () => addResources({ Resources: {} }, [QUEUE, { ...QUEUE, properties: {} }])

    expect(add).toThrow(
      new TypeError(
        'Cannot add AWS::SQS::Queue to the template: its id must be unique, got Queue, which another AWS::SQS::Queue has',
      ),
    )
  })

  test('fills in what a configuration of asynchronous invocations that is there leaves open', () => {
    const template: Template = { Resources: {} }
    addResources(template, [
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
