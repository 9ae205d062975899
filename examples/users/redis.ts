import { Redis } from 'ioredis'
import { connectIoredis } from 'millrace/ioredis'

/** `REDIS_URL` on this machine; on AWS the name of the SSM parameter that holds the URL, which then is in no template. */
const { REDIS_URL, REDIS_URL_PARAMETER } = process.env
const url = REDIS_URL || (await readParameter())

/** What polls, claims and publishes. */
export const redis = connectIoredis(url)

/** What handlers and senders read with. It connects when it is first used, fails rather than wait, and asks for nothing that its Redis user may not. */
export const client = new Redis(url, {
  lazyConnect: true,
  enableReadyCheck: false,
  maxRetriesPerRequest: 1,
  commandTimeout: 2_000,
})
// each command that fails says so itself
client.on('error', () => {})

/** @throws {Error} It cannot be read. Nothing quotes what it holds. */
async function readParameter(): Promise<string> {
  if (!REDIS_URL_PARAMETER) throw new Error('Cannot connect: REDIS_URL or REDIS_URL_PARAMETER must be set')
  const { GetParameterCommand, SSMClient } = await import('@aws-sdk/client-ssm')
  const ssm = new SSMClient()
  const command = new GetParameterCommand({ Name: REDIS_URL_PARAMETER, WithDecryption: true })
  const { Parameter } = await ssm.send(command, { abortSignal: AbortSignal.timeout(5_000) })
  if (/^rediss?:\/\/./.test(Parameter?.Value ?? '')) return Parameter?.Value as string
  throw new Error('Cannot connect: the parameter that REDIS_URL_PARAMETER names must hold a redis:// or rediss:// URL')
}
