import { describe, expect, test } from 'vitest'
import type { EventSourceOptions } from '../../src/deploy/event-source.ts'
import { type CloudFormationResource, logicalIdReferences } from '../../src/deploy/resources.ts'
import { createScheduleResources } from '../../src/deploy/schedules.ts'
import { aTarget, someSettings } from './settings.ts'

const QUEUE = 'arn:aws:sqs:eu-central-1:123456789012:failed'

function describeWith(options: Partial<EventSourceOptions> = {}): ReadonlyMap<string, CloudFormationResource> {
  const parts = { poller: aTarget('Poller'), claimer: aTarget('Claimer'), references: logicalIdReferences }
  return new Map(createScheduleResources(someSettings(options), parts).map((resource) => [resource.id, resource]))
}

describe('createScheduleResources()', () => {
  test('wakes the poller and the claimer, without a retry, and keeps what failed', () => {
    expect([...describeWith().values()].map(({ id, type }) => [id, type])).toEqual([
      ['RedisStreamSchedules', 'AWS::Scheduler::ScheduleGroup'],
      ['RedisStreamFailedSchedules', 'AWS::SQS::Queue'],
      ['RedisStreamFailedSchedulesPolicy', 'AWS::SQS::QueuePolicy'],
      ['PollerSchedule', 'AWS::Scheduler::Schedule'],
      ['PollerScheduleRole', 'AWS::IAM::Role'],
      ['PollerEventInvokeConfig', 'AWS::Lambda::EventInvokeConfig'],
      ['ClaimerSchedule', 'AWS::Scheduler::Schedule'],
      ['ClaimerScheduleRole', 'AWS::IAM::Role'],
      ['ClaimerEventInvokeConfig', 'AWS::Lambda::EventInvokeConfig'],
    ])
  })

  test('says how often, and that a tick is neither late nor repeated', () => {
    expect(describeWith({ schedule: 'rate(5 minutes)' }).get('ClaimerSchedule')?.properties).toEqual({
      Description: 'Wakes Claimer: rate(5 minutes)',
      GroupName: { Ref: 'RedisStreamSchedules' },
      ScheduleExpression: 'rate(5 minutes)',
      FlexibleTimeWindow: { Mode: 'OFF' },
      State: 'ENABLED',
      Target: {
        Arn: { 'Fn::GetAtt': ['ClaimerLambdaFunction', 'Arn'] },
        RoleArn: { 'Fn::GetAtt': ['ClaimerScheduleRole', 'Arn'] },
        RetryPolicy: { MaximumRetryAttempts: 0, MaximumEventAgeInSeconds: 60 },
        DeadLetterConfig: { Arn: { 'Fn::GetAtt': ['RedisStreamFailedSchedules', 'Arn'] } },
      },
    })
  })

  test('makes as many equal schedules as there are pollers, and one for the claimer', () => {
    const resources = describeWith({ pollers: 3 })
    const schedules = [...resources.values()].filter(({ type }) => type === 'AWS::Scheduler::Schedule')

    expect(schedules.map(({ id }) => id)).toEqual([
      'PollerSchedule',
      'PollerSchedule2',
      'PollerSchedule3',
      'ClaimerSchedule',
    ])
    expect(resources.get('PollerSchedule3')?.properties).toEqual(resources.get('PollerSchedule')?.properties)
  })

  test('switches the schedules off where the consumer is not enabled', () => {
    const resources = describeWith({ enabled: false })
    const states = ['PollerSchedule', 'ClaimerSchedule'].map((id) => resources.get(id)?.properties.State)

    expect(states).toEqual(['DISABLED', 'DISABLED'])
  })

  test('puts what failed into the queue that is named, and makes none', () => {
    const resources = describeWith({ failedSchedules: QUEUE })

    expect([...resources.keys()].filter((id) => id.includes('Failed'))).toEqual([])
    expect(resources.get('PollerSchedule')).toMatchObject({
      properties: { Target: { DeadLetterConfig: { Arn: QUEUE } } },
    })
    expect(JSON.stringify(resources.get('PollerScheduleRole'))).toContain(
      `"Action":"sqs:SendMessage","Resource":"${QUEUE}"`,
    )
  })

  test('keeps Lambda from retrying an asynchronous invocation, and from keeping it', () => {
    expect(describeWith().get('PollerEventInvokeConfig')?.properties).toEqual({
      FunctionName: { Ref: 'PollerLambdaFunction' },
      Qualifier: '$LATEST',
      MaximumRetryAttempts: 0,
      MaximumEventAgeInSeconds: 60,
    })
  })
})
