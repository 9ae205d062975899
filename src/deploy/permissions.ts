import type { EventSourceSettings } from './event-source.ts'
import type { JanitorSettings } from './janitor-event.ts'
import type { CloudFormationResource, IamStatement, TemplateReference } from './resources.ts'
import { arnReference, iamPolicyDocument } from './resources.ts'

/** What a role has to know about its function. */
export interface FunctionRoleInputs {
  /**
   * The function's own ARN. It must not be a reference to the function, which needs the role first: make it of the function's name, by
   * `arnReference('lambda', 'function:<name>')`.
   */
  readonly arn: unknown
  /** The same for every version and alias: the ARN and `:*`. */
  readonly versionsArn: unknown
  /** ARN of its log group, which ends in `:*`; `undefined` where something else lets it log. */
  readonly logGroupArn: unknown
  /** Whether it is in a VPC. */
  readonly inVpc: boolean
  /** Whether X-Ray traces it. Default `false`. */
  readonly traced?: boolean
}

/** What Lambda needs to attach a function to a VPC. EC2 knows no narrower resource for the first two. */
const DESCRIBE_NETWORK = ['ec2:DescribeNetworkInterfaces', 'ec2:DescribeSubnets']
const ATTACH_NETWORK = [
  'ec2:CreateNetworkInterface',
  'ec2:DeleteNetworkInterface',
  'ec2:AssignPrivateIpAddresses',
  'ec2:UnassignPrivateIpAddresses',
]

const ANY_NETWORK = { 'Fn::Sub': `arn:\${AWS::Partition}:ec2:\${AWS::Region}:*:*/*` }

/** X-Ray knows no narrower resource. */
const TRACE: IamStatement = {
  Sid: 'Trace',
  Effect: 'Allow',
  Action: ['xray:PutTraceSegments', 'xray:PutTelemetryRecords'],
  Resource: '*',
}

/** All that a poller may do: write its log, read its parameters, invoke its targets and itself, be in its VPC. */
export function pollerIamStatements(settings: EventSourceSettings, fn: FunctionRoleInputs): IamStatement[] {
  return [...functionStatements(settings, settings.parameters.poller, fn), invokeItself(fn)]
}

/** All that a claimer may do: the same, without invoking itself. */
export function claimerIamStatements(settings: EventSourceSettings, fn: FunctionRoleInputs): IamStatement[] {
  return functionStatements(settings, settings.parameters.claimer, fn)
}

/** All that a janitor may do: write its log, read its parameters, write its archive, be in its VPC. */
export function janitorIamStatements(
  { parameters, statements, archiveBucket }: Pick<JanitorSettings, 'parameters' | 'statements' | 'archiveBucket'>,
  fn: FunctionRoleInputs,
): IamStatement[] {
  return functionStatements(
    { targets: [], statements: [...archiveStatements(archiveBucket), ...statements] },
    parameters,
    fn,
  )
}

/** Objects are written once, and never read or deleted. */
function archiveStatements(bucket: JanitorSettings['archiveBucket']): IamStatement[] {
  if (bucket === undefined) return []
  const Resource = { 'Fn::Sub': [`arn:\${AWS::Partition}:s3:::\${ArchiveBucket}/*`, { ArchiveBucket: bucket }] }
  return [{ Sid: 'WriteArchive', Effect: 'Allow', Action: 's3:PutObject', Resource }]
}

/**
 * A role that Lambda takes for one function.
 *
 * @param own What else the user gave it. Its statements are a policy apart, whose ids are free.
 */
export function createFunctionRoleResource(
  id: string,
  statements: readonly IamStatement[],
  own: { readonly properties: CloudFormationResource['properties']; readonly statements: readonly IamStatement[] },
): CloudFormationResource {
  const trust = iamPolicyDocument([
    { Effect: 'Allow', Principal: { Service: 'lambda.amazonaws.com' }, Action: 'sts:AssumeRole' },
  ])
  const policies = Object.entries({ run: statements, provider: own.statements })
  return {
    id,
    type: 'AWS::IAM::Role',
    properties: {
      ...own.properties,
      AssumeRolePolicyDocument: trust,
      Policies: policies
        .filter(([, all]) => all.length > 0)
        .map(([PolicyName, all]) => ({ PolicyName, PolicyDocument: iamPolicyDocument(all) })),
    },
  }
}

/**
 * What lets Lambda attach a function to its VPC, and keeps the function's own code from doing the same.
 *
 * @see https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html
 */
function networkStatements({ arn }: Pick<FunctionRoleInputs, 'arn'>): IamStatement[] {
  return [
    { Sid: 'DescribeNetwork', Effect: 'Allow', Action: DESCRIBE_NETWORK, Resource: '*' },
    // the subnets of a shared VPC are another account's
    { Sid: 'AttachNetwork', Effect: 'Allow', Action: ATTACH_NETWORK, Resource: ANY_NETWORK },
    {
      Sid: 'DenyNetworkToCode',
      Effect: 'Deny',
      Action: [...DESCRIBE_NETWORK, ...ATTACH_NETWORK],
      Resource: '*',
      Condition: { ArnEquals: { 'lambda:SourceFunctionArn': arn } },
    },
  ]
}

/** What a function may read of the parameter store, and decrypt: these parameters and no others. */
function parameterStatements(names: readonly string[]): IamStatement[] {
  if (names.length === 0) return []
  const arns = names.map((name) => arnReference('ssm', `parameter/${name.replace(/^\//, '')}`))
  return [
    { Sid: 'ReadParameters', Effect: 'Allow', Action: 'ssm:GetParameter', Resource: arns },
    decryptStatement(arns),
  ]
}

/** Whichever key of this account encrypts the parameters: the conditions leave room only for these. */
function decryptStatement(arns: readonly unknown[]): IamStatement {
  return {
    Sid: 'DecryptParameters',
    Effect: 'Allow',
    Action: 'kms:Decrypt',
    Resource: arnReference('kms', 'key/*'),
    Condition: {
      StringEquals: {
        'kms:ViaService': { 'Fn::Sub': `ssm.\${AWS::Region}.amazonaws.com` },
        'kms:EncryptionContext:PARAMETER_ARN': arns,
      },
    },
  }
}

/** What handlers invoke, and nothing else. */
function targetStatements(targets: readonly (string | TemplateReference)[]): IamStatement[] {
  if (targets.length === 0) return []
  return [{ Sid: 'InvokeTargets', Effect: 'Allow', Action: 'lambda:InvokeFunction', Resource: targets.map(targetArn) }]
}

function targetArn(target: string | TemplateReference): unknown {
  if (typeof target !== 'string') return 'Ref' in target ? { 'Fn::GetAtt': [target.Ref, 'Arn'] } : target // a function's Ref is its name
  return /^[\w-]+(:[\w$-]+)?$/.test(target) ? arnReference('lambda', `function:${target}`) : target
}

/** A poller invokes itself where there is more than it can do: further slots, and what its own time is too short for. */
function invokeItself({ arn, versionsArn }: Pick<FunctionRoleInputs, 'arn' | 'versionsArn'>): IamStatement {
  return { Sid: 'InvokeItself', Effect: 'Allow', Action: 'lambda:InvokeFunction', Resource: [arn, versionsArn] }
}

function functionStatements(
  { targets, statements }: Pick<EventSourceSettings, 'targets' | 'statements'>,
  parameters: readonly string[],
  fn: FunctionRoleInputs,
): IamStatement[] {
  return [
    ...(fn.logGroupArn === undefined ? [] : [writeLog(fn.logGroupArn)]),
    ...parameterStatements(parameters),
    ...targetStatements(targets),
    ...(fn.inVpc ? networkStatements(fn) : []),
    ...(fn.traced ? [TRACE] : []),
    ...statements,
  ]
}

function writeLog(logGroupArn: unknown): IamStatement {
  return {
    Sid: 'WriteLog',
    Effect: 'Allow',
    Action: ['logs:CreateLogStream', 'logs:PutLogEvents'],
    Resource: logGroupArn,
  }
}
