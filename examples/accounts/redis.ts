import { Cluster, Redis } from 'ioredis'
import { connectIoredis } from 'millrace/ioredis'

const url = await redisUrl()
const COMMAND_MS = 5_000

/** What events are published, read and handled over. */
export const redis = connectIoredis(url)

/** For snapshots and the archive; it connects when it is first used. */
export const client = createClient()
client.on('error', () => {}) // the command that failed says so

/** A `Cluster` where the URL has `?cluster`, as `connectIoredis` understands it; all keys lie in one hash slot. */
function createClient(): Redis | Cluster {
  const options = {
    connectTimeout: 2_000,
    commandTimeout: COMMAND_MS,
    maxRetriesPerRequest: 1,
    enableReadyCheck: false,
  }
  const [, scheme, login = '', hosts = '', rest = ''] = /^(rediss?:\/\/)([^/?]*@)?([^/?]+)(.*)$/.exec(url) ?? []
  if (!scheme) throw new Error('REDIS_URL must be a redis:// or rediss:// URL')
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
