import { connectIoredis } from 'millrace/ioredis'

/** What events are published, read and handled over. */
export const redis = connectIoredis(await redisUrl())

/** `REDIS_URL` as it is, otherwise what the SSM parameter that `REDIS_URL_PARAMETER` names holds. */
async function redisUrl(): Promise<string> {
  const { REDIS_URL, REDIS_URL_PARAMETER } = process.env
  if (REDIS_URL) return REDIS_URL
  if (!REDIS_URL_PARAMETER) throw new Error('REDIS_URL_PARAMETER, or REDIS_URL for local runs, must be set')
  const { GetParameterCommand, SSMClient } = await import('@aws-sdk/client-ssm')
  const command = new GetParameterCommand({ Name: REDIS_URL_PARAMETER, WithDecryption: true })
  const { Parameter } = await new SSMClient().send(command, { abortSignal: AbortSignal.timeout(5_000) })
  if (/^rediss?:\/\/./.test(Parameter?.Value ?? '')) return Parameter?.Value as string
  throw new Error('The parameter that REDIS_URL_PARAMETER names must hold a redis:// or rediss:// URL')
}
