// What redis.yml has, as a part of the CDK app: a durable Valkey 9 on ElastiCache in cluster mode, with its users and an alarm on its log's lag.
// `CDK_CONTEXT_JSON='{"redis":true}' npm run synth`, or `cdk deploy --context redis=true`, has it.
//
// What was acknowledged is in a log of two availability zones first (`durability: 'sync'`): it survives the loss of any node, at single-digit
// milliseconds a write; a batch is one write. It costs money by the hour: four nodes of cache.r7g.large, and what is written to the log. The least
// that is durable is one node group of two nodes; without durability, cache.t4g.small does for a trial.
import { ArnFormat, CfnDeletionPolicy, Fn, type Stack, Validations } from 'aws-cdk-lib'
import { CfnAlarm } from 'aws-cdk-lib/aws-cloudwatch'
import { CfnSecurityGroup } from 'aws-cdk-lib/aws-ec2'
import {
  CfnParameterGroup,
  CfnReplicationGroup,
  CfnSubnetGroup,
  CfnUser,
  CfnUserGroup,
} from 'aws-cdk-lib/aws-elasticache'
import { PolicyStatement } from 'aws-cdk-lib/aws-iam'
import type { Function as LambdaFunction } from 'aws-cdk-lib/aws-lambda'
import { CfnParameter as StoredParameter } from 'aws-cdk-lib/aws-ssm'
import * as access from './redis-acl.js'

const PORT = 6379
const NODE_GROUPS = 2
const REPLICAS = 1

/** Where the functions are, and which of them connect. */
interface Around {
  readonly stage: string
  readonly vpcId: string
  readonly subnetIds: readonly string[]
  readonly securityGroupIds: readonly string[]
  /** By their users, as `orders-poller`. */
  readonly logins: ReadonlyMap<string, Login>
}

/** A function that connects, and the name of the parameter that it reads its URL from. */
export interface Login {
  readonly fn: LambdaFunction
  readonly parameter: string
}

/** Adds the cache; each function connects as its own user, by IAM: all take `redis` from `functions/shared/redis-iam.ts`. */
export function addRedis(stack: Stack, { stage, logins, ...network }: Around): void {
  const users = usersOf(stack, stage)
  const group = usersGroupOf(stack, `orders-${stage}`, [...users.values()])
  const cache = cacheOf(stack, `orders-${stage}`, network, group)
  watchLag(stack, cache)
  for (const [name, login] of logins) {
    const user = users.get(name)
    if (!user) throw new Error(`No user of redis-acl.txt is called ${name}`)
    connect(stack, name, login, { cache, user })
  }
}

interface Reached {
  readonly cache: CfnReplicationGroup
  readonly user: CfnUser
}

function connect(stack: Stack, name: string, { fn, parameter }: Login, { cache, user }: Reached): void {
  const resources = [cacheArn(stack, cache), user.attrArn]
  fn.addToRolePolicy(new PolicyStatement({ actions: ['elasticache:Connect'], resources }))
  const { attrConfigurationEndPointAddress: host, attrConfigurationEndPointPort: port } = cache
  // no password is in it, so that it is no secret
  const value = `rediss://${user.ref}@${host}:${port}?cluster&iam=${cache.ref}`
  new StoredParameter(stack, `RedisUrl-${name}`, { name: parameter, type: 'String', value })
}

/** Who may log in, and what each may do; `default` has no way to log in. */
const USERS: Readonly<Record<string, string>> = {
  'orders-publisher': access.publisher,
  'orders-deduplicator': access.deduplicator,
  'orders-decider': access.decider,
  'orders-throttled': access.throttled,
  'orders-delayer': access.delayer,
  'orders-poller': access.poller,
  'orders-promoter': access.promoter,
  'orders-claimer': access.claimer,
  'orders-console': access.console,
  'orders-operator': access.operator,
  'orders-janitor': access.janitor,
  'activity-publisher': access.activityPublisher,
  'activity-poller': access.activityPoller,
  'activity-claimer': access.activityClaimer,
  'analytics-poller': access.analyticsPoller,
  'analytics-claimer': access.analyticsClaimer,
  'analytics-detect': access.analyticsDetect,
  'analytics-read': access.analyticsRead,
  'checkout-publisher': access.checkoutPublisher,
  'checkout-poller': access.checkoutPoller,
  'checkout-claimer': access.checkoutClaimer,
  'checkout-read': access.checkoutRead,
  'webhooks-publisher': access.webhooksPublisher,
  'webhooks-registrar': access.webhooksRegistrar,
  'webhooks-poller': access.webhooksPoller,
  'webhooks-claimer': access.webhooksClaimer,
  'webhooks-read': access.webhooksRead,
  'fan-out-publisher': access.fanOutPublisher,
  'fan-out-poller': access.fanOutPoller,
  'fan-out-claimer': access.fanOutClaimer,
  'fan-out-read': access.fanOutRead,
  'fan-out-operator': access.fanOutOperator,
}

/** By name. Who logs in by IAM has the same name and id. */
function usersOf(stack: Stack, stage: string): ReadonlyMap<string, CfnUser> {
  const userOf = (name: string, userName: string, accessString: string, type: string) =>
    new CfnUser(stack, `RedisUser-${name}`, {
      engine: 'redis', // Valkey takes it, and a group of that engine may hold a user who has no way to log in
      userId: `${name}-${stage}`,
      userName,
      accessString,
      authenticationMode: { Type: type },
    })
  const byIam = Object.entries(USERS).map(
    ([name, accessString]) => [name, userOf(name, `${name}-${stage}`, accessString, 'iam')] as const,
  )
  const off = userOf('orders-default', 'default', 'off -@all', 'no-password-required')
  return new Map([['default', off], ...byIam])
}

function usersGroupOf(stack: Stack, userGroupId: string, users: readonly CfnUser[]): CfnUserGroup {
  const userIds = users.map((user) => user.ref)
  return new CfnUserGroup(stack, 'OrdersRedisUsers', { engine: 'redis', userGroupId, userIds })
}

type Network = Pick<Around, 'vpcId' | 'subnetIds' | 'securityGroupIds'>

function cacheOf(stack: Stack, id: string, network: Network, users: CfnUserGroup): CfnReplicationGroup {
  const cache = new CfnReplicationGroup(stack, 'OrdersRedis', {
    replicationGroupId: id,
    replicationGroupDescription: 'The orders stream and its consumers',
    engine: 'valkey',
    engineVersion: '9.0',
    cacheNodeType: 'cache.r7g.large',
    clusterMode: 'enabled',
    durability: 'sync',
    numNodeGroups: NODE_GROUPS,
    replicasPerNodeGroup: REPLICAS,
    port: PORT,
    automaticFailoverEnabled: true,
    multiAzEnabled: true,
    transitEncryptionEnabled: true,
    transitEncryptionMode: 'required',
    atRestEncryptionEnabled: true,
    snapshotRetentionLimit: 7,
    cacheParameterGroupName: neverEvicting(stack).ref,
    cacheSubnetGroupName: new CfnSubnetGroup(stack, 'OrdersRedisSubnets', {
      description: 'Where the functions are, too',
      subnetIds: [...network.subnetIds],
    }).ref,
    securityGroupIds: [forFunctions(stack, network).attrGroupId],
    userGroupIds: [users.ref],
  })
  cache.cfnOptions.deletionPolicy = CfnDeletionPolicy.SNAPSHOT
  cache.cfnOptions.updateReplacePolicy = CfnDeletionPolicy.SNAPSHOT
  Validations.of(cache).acknowledge(
    { id: 'AwsSolutions-AEC5', reason: 'The port is no secret: the security group lets the functions alone in.' },
    { id: 'AwsSolutions-AEC6', reason: 'Users log in by IAM, and the default user cannot: no shared token is needed.' },
  )
  return cache
}

/** A full memory refuses writes: an evicted stream or group would be events that nobody handles. */
function neverEvicting(stack: Stack): CfnParameterGroup {
  return new CfnParameterGroup(stack, 'OrdersRedisParameters', {
    cacheParameterGroupFamily: 'valkey9',
    description: 'Streams are never evicted',
    properties: { 'maxmemory-policy': 'noeviction', 'cluster-enabled': 'yes' },
  })
}

function forFunctions(stack: Stack, { vpcId, securityGroupIds }: Network): CfnSecurityGroup {
  return new CfnSecurityGroup(stack, 'OrdersRedisSecurityGroup', {
    groupDescription: 'Redis, for the functions alone',
    vpcId,
    securityGroupIngress: [
      {
        description: 'The functions, by their first security group',
        ipProtocol: 'tcp',
        fromPort: PORT,
        toPort: PORT,
        sourceSecurityGroupId: Fn.select(0, [...securityGroupIds]),
      },
    ],
    // an empty list would be everything
    securityGroupEgress: [
      { description: 'None', ipProtocol: 'icmp', fromPort: 252, toPort: 86, cidrIp: '255.255.255.255/32' },
    ],
  })
}

/**
 * 0 as long as durability is sync; with async, what a failover would lose: from 10 s on nodes refuse writes (CLUSTERDOWN), which pass.
 *
 * @see https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/Durability.Monitoring.html
 */
function watchLag(stack: Stack, cache: CfnReplicationGroup): void {
  const nodes = Array.from({ length: NODE_GROUPS * (1 + REPLICAS) }, (_each, n) => ({
    id: `lag${n}`,
    name: `${cache.ref}-000${1 + Math.floor(n / (1 + REPLICAS))}-00${1 + (n % (1 + REPLICAS))}`,
  }))
  new CfnAlarm(stack, 'OrdersRedisLagAlarm', {
    alarmDescription: 'The log of a node of the orders cache is behind by 5 s',
    comparisonOperator: 'GreaterThanThreshold',
    threshold: 5_000,
    evaluationPeriods: 3,
    treatMissingData: 'notBreaching',
    metrics: [
      {
        id: 'lag',
        expression: `MAX([${nodes.map(({ id }) => id).join(', ')}])`,
        label: 'DurabilityLag',
        returnData: true,
      },
      ...nodes.map(({ id, name }) => ({ id, returnData: false, metricStat: lagOf(name) })),
    ],
  })
}

function lagOf(node: string): CfnAlarm.MetricStatProperty {
  const dimensions = [{ name: 'CacheClusterId', value: node }]
  const metric = { namespace: 'AWS/ElastiCache', metricName: 'DurabilityLag', dimensions }
  return { metric, period: 60, stat: 'Maximum' }
}

function cacheArn(stack: Stack, { ref }: CfnReplicationGroup): string {
  const arnFormat = ArnFormat.COLON_RESOURCE_NAME
  return stack.formatArn({ service: 'elasticache', resource: 'replicationgroup', resourceName: ref, arnFormat })
}
