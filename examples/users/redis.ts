import { Cluster, Redis } from 'ioredis'
import { connectIoredis } from 'millrace/ioredis'

/** `REDIS_URL` on this machine; on AWS the name of the SSM parameter that holds the URL, which then is in no template. */
const { REDIS_URL, REDIS_URL_PARAMETER } = process.env
const COMMAND_MS = 2_000
const url = REDIS_URL || (await readParameter())

/** What polls, claims and publishes. */
export const redis = connectIoredis(url)

/** What handlers and senders read with. It connects when it is first used, fails rather than wait, and asks for nothing that its Redis user may not. */
export const client = createClient()
// each command that fails says so itself
client.on('error', () => {})

/** A `Cluster` where the URL has `?cluster`, as `connectIoredis` understands it; all keys lie in one hash slot. */
function createClient(): Redis | Cluster {
  const options = {
    connectTimeout: 2_000,
    commandTimeout: COMMAND_MS,
    maxRetriesPerRequest: 1,
    enableReadyCheck: false,
  }
  const [, scheme, login = '', hosts = '', rest = ''] = /^(rediss?:\/\/)([^/?]*@)?([^/?]+)(.*)$/.exec(url) ?? []
  if (!scheme) throw new Error('Cannot connect: REDIS_URL must be a redis:// or rediss:// URL')
  if (!/[?&]cluster\b/.test(rest)) return new Redis(url, { ...options, lazyConnect: true })
  const [first, ...others] = hosts.split(',').map((host) => new URL(`${scheme}${login}${host}`)) as [URL, ...URL[]]
  const [username, password] = [first.username, first.password].map(decodeURIComponent)
  const nodes = [first, ...others].map(({ hostname, port }) => ({
    host: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port || 6_379),
  }))
  const cluster = new Cluster(nodes, {
    lazyConnect: true,
    enableReadyCheck: false,
    dnsLookup: (name, done) => done(null, name), // TLS sees the name that is in the certificate
    redisOptions: {
      ...options,
      ...(username && { username }),
      ...(password && { password }),
      ...(scheme === 'rediss://' && { tls: {} }),
    },
  })
  // a command also waits while no node is known, and without this one for ever
  const send = cluster.sendCommand.bind(cluster)
  cluster.sendCommand = (command, ...rest) => {
    command.setTimeout(COMMAND_MS)
    return send(command, ...rest)
  }
  return cluster
}

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
