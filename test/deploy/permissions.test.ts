import { describe, expect, test } from 'vitest'
import { claimerIamStatements, type FunctionRoleInputs, pollerIamStatements } from '../../src/deploy/permissions.ts'
import { arnReference, type IamStatement } from '../../src/deploy/resources.ts'
import { someSettings } from './settings.ts'

const FUNCTION: FunctionRoleInputs = {
  arn: arnReference('lambda', 'function:shop'),
  versionsArn: arnReference('lambda', 'function:shop:*'),
  logGroupArn: { 'Fn::GetAtt': ['ShopLogGroup', 'Arn'] },
  inVpc: false,
}

const NOTIFY = { 'Fn::ImportValue': 'notify' }

const sids = (statements: readonly IamStatement[]) => statements.map(({ Sid }) => Sid)

describe('what a function may do', () => {
  test('is to write its log, and for the poller to invoke itself', () => {
    const log = {
      Sid: 'WriteLog',
      Effect: 'Allow',
      Action: ['logs:CreateLogStream', 'logs:PutLogEvents'],
      Resource: { 'Fn::GetAtt': ['ShopLogGroup', 'Arn'] },
    }
    const itself = {
      Sid: 'InvokeItself',
      Effect: 'Allow',
      Action: 'lambda:InvokeFunction',
      Resource: [arnReference('lambda', 'function:shop'), arnReference('lambda', 'function:shop:*')],
    }

    expect(pollerIamStatements(someSettings(), FUNCTION)).toEqual([log, itself])
    expect(claimerIamStatements(someSettings(), FUNCTION)).toEqual([log])
  })

  test('is to read and decrypt its own parameters, not those of the other', () => {
    const settings = someSettings({ parameters: { poller: ['/shop/url', 'plain'], claimer: '/shop/claimer' } })
    const [, read, decrypt] = pollerIamStatements(settings, FUNCTION)
    const arns = [arnReference('ssm', 'parameter/shop/url'), arnReference('ssm', 'parameter/plain')]

    expect([read, decrypt]).toMatchObject([
      { Action: 'ssm:GetParameter', Resource: arns },
      {
        Action: 'kms:Decrypt',
        Condition: {
          StringEquals: {
            'kms:ViaService': { 'Fn::Sub': `ssm.\${AWS::Region}.amazonaws.com` },
            'kms:EncryptionContext:PARAMETER_ARN': arns,
          },
        },
      },
    ])
    expect(JSON.stringify(claimerIamStatements(settings, FUNCTION))).not.toContain('/shop/url')
  })

  test('is to invoke the targets that are listed, by name, ARN or reference', () => {
    const arn = 'arn:aws:lambda:eu-central-1:123456789012:function:notify:live'
    const settings = someSettings({ targets: ['notify-shipping', 'other:live', arn, NOTIFY, { Ref: 'Notify' }] })
    const statement = {
      Sid: 'InvokeTargets',
      Effect: 'Allow',
      Action: 'lambda:InvokeFunction',
      Resource: [
        arnReference('lambda', 'function:notify-shipping'),
        arnReference('lambda', 'function:other:live'),
        arn,
        NOTIFY,
        { 'Fn::GetAtt': ['Notify', 'Arn'] },
      ],
    }

    expect(pollerIamStatements(settings, FUNCTION)).toContainEqual(statement)
    expect(claimerIamStatements(settings, FUNCTION)).toContainEqual(statement)
  })

  test('in a VPC includes what Lambda needs to attach it, but not for its code', () => {
    const statements = claimerIamStatements(someSettings(), { ...FUNCTION, inVpc: true })
    const [, describeNetwork, attach, deny] = statements

    expect(sids(statements)).toEqual(['WriteLog', 'DescribeNetwork', 'AttachNetwork', 'DenyNetworkToCode'])
    // the subnets of a shared VPC are another account's
    expect(attach?.Resource).toEqual({ 'Fn::Sub': `arn:\${AWS::Partition}:ec2:\${AWS::Region}:*:*/*` })
    expect(deny).toEqual({
      Sid: 'DenyNetworkToCode',
      Effect: 'Deny',
      Action: [describeNetwork, attach].flatMap((statement) => statement?.Action),
      Resource: '*',
      Condition: { ArnEquals: { 'lambda:SourceFunctionArn': FUNCTION.arn } },
    })
  })

  test('allows tracing, omits the log, and adds further statements where the function says so', () => {
    const statements = [{ Effect: 'Allow', Action: 's3:GetObject', Resource: 'arn:aws:s3:::shop/*' }] as const
    const given = { ...FUNCTION, logGroupArn: undefined, traced: true }

    expect(claimerIamStatements(someSettings({ statements }), given)).toEqual([
      {
        Sid: 'Trace',
        Effect: 'Allow',
        Action: ['xray:PutTraceSegments', 'xray:PutTelemetryRecords'],
        Resource: '*',
      },
      ...statements,
    ])
  })
})
