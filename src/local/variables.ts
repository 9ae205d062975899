import { delimiter } from 'node:path'
import type { DeployedFunction } from './definitions.ts'

/** Where the functions believe they are. */
export interface LocalSurroundings {
  readonly region: string
  readonly accountId: string
  /** The Invoke API's address. */
  readonly endpoint: string
}

export function functionArn(
  name: string,
  { region, accountId }: Pick<LocalSurroundings, 'region' | 'accountId'>,
): string {
  return `arn:aws:lambda:${region}:${accountId}:function:${name}`
}

/**
 * A function's environment: what Lambda sets, over which goes what the function's definition says. Nothing is handed on from the
 * environment of this process but where programs are.
 *
 * @see https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
 */
export function environmentVariables(deployed: DeployedFunction, where: LocalSurroundings): Record<string, string> {
  const { name, handler, codeFolder, memoryMb } = deployed
  return {
    PATH: ['/usr/local/bin', '/usr/bin', '/bin', process.env.PATH ?? ''].join(delimiter),
    LANG: 'en_US.UTF-8',
    TZ: ':UTC',
    AWS_REGION: where.region,
    AWS_DEFAULT_REGION: where.region,
    AWS_ACCESS_KEY_ID: 'local',
    AWS_SECRET_ACCESS_KEY: 'local',
    AWS_SESSION_TOKEN: 'local',
    AWS_EXECUTION_ENV: `AWS_Lambda_nodejs${process.versions.node.split('.')[0]}.x`,
    AWS_LAMBDA_INITIALIZATION_TYPE: 'on-demand',
    AWS_ENDPOINT_URL_LAMBDA: where.endpoint,
    ...deployed.environment,
    AWS_LAMBDA_FUNCTION_NAME: name,
    AWS_LAMBDA_FUNCTION_VERSION: '$LATEST',
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE: `${memoryMb}`,
    AWS_LAMBDA_LOG_GROUP_NAME: `/aws/lambda/${name}`,
    AWS_LAMBDA_LOG_STREAM_NAME: 'local',
    LAMBDA_TASK_ROOT: codeFolder,
    _HANDLER: handler,
  }
}
