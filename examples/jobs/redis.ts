import { Redis } from 'ioredis'
import { connectIoredis } from 'millrace/ioredis'

const url = await redisUrl()

/** What publishes, polls and claims. */
export const redis = connectIoredis(url)

const options = { lazyConnect: true, connectTimeout: 1_000, commandTimeout: 1_000, maxRetriesPerRequest: 1 }
/** For commands of our own; it connects when it is first used, fails rather than wait, and asks for no INFO, which its users lack. */
export const client = new Redis(url, { ...options, enableReadyCheck: false })
client.on('error', () => {}) // the command that failed says so

/** `REDIS_URL` as it is, otherwise what the SSM parameter that `REDIS_URL_PARAMETER` names holds. */
async function redisUrl(): Promise<string> {
  const { REDIS_URL, REDIS_URL_PARAMETER } = process.env
  if (REDIS_URL) return REDIS_URL
  if (!REDIS_URL_PARAMETER) throw new Error('REDIS_URL_PARAMETER, or REDIS_URL for local runs, must be set')
  // loaded here, so that local runs do without it
  const { GetParameterCommand, SSMClient } = await import('@aws-sdk/client-ssm')
  const command = new GetParameterCommand({ Name: REDIS_URL_PARAMETER, WithDecryption: true })
  const { Parameter } = await new SSMClient().send(command, { abortSignal: AbortSignal.timeout(5_000) })
  if (/^rediss?:\/\/./.test(Parameter?.Value ?? '')) return Parameter?.Value as string
  throw new Error('The parameter that REDIS_URL_PARAMETER names must hold a redis:// or rediss:// URL')
}
