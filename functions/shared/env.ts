import { isIP } from 'node:net'

/** The only place that reads the environment; checked once, when the module loads. */
const { REDIS_URL, REDIS_URL_PARAMETER, ORDERS_STREAM = 'orders', ALERTS_TOPIC_ARN } = process.env
const { PARTNERS_URL, CHECKOUT_TIMEOUT_MS = '900000', ARCHIVE_BUCKET } = process.env
const { WEBHOOKS_TIMEOUT_MS = '15000', WEBHOOKS_ALLOWED = '' } = process.env

/** Lambda gives a function ten seconds to start. */
const PARAMETER_TIMEOUT_MS = 5_000
const NO_ANSWER = `no answer within ${PARAMETER_TIMEOUT_MS} ms; a function in a VPC needs an endpoint for SSM`

if (!REDIS_URL && !REDIS_URL_PARAMETER) refuse('REDIS_URL_PARAMETER, or REDIS_URL for local runs, must be set')
if (REDIS_URL && !isRedisUrl(REDIS_URL)) refuse('REDIS_URL must be a redis:// or rediss:// URL')
// neither value is shown: somebody may have put the URL itself where its parameter's name belongs
if (REDIS_URL_PARAMETER && !/^(arn:[\w:.-]+\/)?[\w./-]+$/.test(REDIS_URL_PARAMETER))
  refuse('REDIS_URL_PARAMETER must be the name of an SSM parameter, as in /shop/redis-url')
if (ORDERS_STREAM.trim() === '') refuse(`ORDERS_STREAM must name a stream, got ${JSON.stringify(ORDERS_STREAM)}`)
if (ALERTS_TOPIC_ARN !== undefined && !/^arn:[\w-]+:sns:[\w-]+:\d{12}:[\w-]+$/.test(ALERTS_TOPIC_ARN))
  refuse(`ALERTS_TOPIC_ARN must be the ARN of an SNS topic, got ${JSON.stringify(ALERTS_TOPIC_ARN)}`)
if (!/^[1-9]\d{2,9}$/.test(CHECKOUT_TIMEOUT_MS))
  refuse(`CHECKOUT_TIMEOUT_MS must be 100 or more milliseconds, got ${JSON.stringify(CHECKOUT_TIMEOUT_MS)}`)

if (!(/^[1-9]\d{2,4}$/.test(WEBHOOKS_TIMEOUT_MS) && Number(WEBHOOKS_TIMEOUT_MS) <= 35_000))
  refuse(`WEBHOOKS_TIMEOUT_MS must be 100 to 35000 milliseconds, got ${JSON.stringify(WEBHOOKS_TIMEOUT_MS)}`)
const allowed = WEBHOOKS_ALLOWED.split(',').filter(Boolean)
if (!allowed.every((address) => isIP(address)))
  refuse(`WEBHOOKS_ALLOWED must be IP addresses with commas between, got ${JSON.stringify(WEBHOOKS_ALLOWED)}`)

/** The stream of order events: `ORDERS_STREAM`, default `orders`. */
export const ordersStream = ORDERS_STREAM

/** The bucket that takes what the janitor trims: `ARCHIVE_BUCKET`; without it, what is trimmed is gone. */
export const archiveBucket = ARCHIVE_BUCKET

/** Where payment provider and carrier of the checkout are: `PARTNERS_URL`, with a slash at its end, so that its path stays; without it, nobody is asked. */
export const partnersUrl = httpUrl('PARTNERS_URL', PARTNERS_URL)

/** How long an order may take until it is confirmed, in milliseconds: `CHECKOUT_TIMEOUT_MS`, default 15 minutes. */
export const checkoutTimeoutMs = Number(CHECKOUT_TIMEOUT_MS)

/** How long a merchant's endpoint may take, in milliseconds: `WEBHOOKS_TIMEOUT_MS`, default 15 seconds. */
export const webhooksTimeoutMs = Number(WEBHOOKS_TIMEOUT_MS)

/** Addresses that webhooks go to though they are not public, also by `http:`: `WEBHOOKS_ALLOWED`, for local runs; default none. */
export const webhooksAllowed: ReadonlySet<string> = new Set(allowed)

/** Where the warehouse is: `WAREHOUSE_URL`, with a slash at its end; without it, nobody is asked. A function, as the next ones: bundles that do not call it are without it. */
export const warehouseUrl = () => httpUrl('WAREHOUSE_URL', process.env.WAREHOUSE_URL)

/**
 * The bus that orders are forwarded to: `EVENT_BUS_NAME`. Local runs, which have `REDIS_URL`, may have none.
 *
 * @throws {Error} It is not set.
 */
export function eventBusName(): string | undefined {
  return process.env.EVENT_BUS_NAME || (REDIS_URL ? undefined : refuse('EVENT_BUS_NAME must be set'))
}

/**
 * The bucket that keeps the record of orders: `AUDIT_BUCKET`. Local runs, which have `REDIS_URL`, may have none.
 *
 * @throws {Error} It is not set.
 */
export function auditBucket(): string | undefined {
  return process.env.AUDIT_BUCKET || (REDIS_URL ? undefined : refuse('AUDIT_BUCKET must be set'))
}

/**
 * The topic of alerts: `ALERTS_TOPIC_ARN`. Local runs, which have `REDIS_URL`, may have none.
 *
 * @throws {Error} It is not set: functions that send none do without it.
 */
export function alertsTopicArn(): string | undefined {
  return ALERTS_TOPIC_ARN ?? (REDIS_URL ? undefined : refuse('ALERTS_TOPIC_ARN must be set'))
}

/**
 * Where Redis is, password included: `REDIS_URL` as it is, otherwise what the SSM parameter named by `REDIS_URL_PARAMETER` holds.
 *
 * @throws {Error} The parameter cannot be read, or holds no Redis URL. The message names the parameter, never its value.
 */
export async function redisUrl(): Promise<string> {
  if (REDIS_URL) return REDIS_URL
  const named = `REDIS_URL_PARAMETER ${JSON.stringify(REDIS_URL_PARAMETER)}`
  // the client is loaded here, so that local runs do without it
  const { GetParameterCommand, SSMClient } = await import('@aws-sdk/client-ssm')
  const client = new SSMClient()
  const command = new GetParameterCommand({ Name: REDIS_URL_PARAMETER, WithDecryption: true })
  const abortSignal = AbortSignal.timeout(PARAMETER_TIMEOUT_MS)
  try {
    const { Parameter } = await client.send(command, { abortSignal })
    if (isRedisUrl(Parameter?.Value)) return Parameter.Value
  } catch (error) {
    const { name, message } = error as Error
    const why = abortSignal.aborted ? NO_ANSWER : `${name}: ${message}`
    throw new Error(`Cannot read ${named}: ${why}`, { cause: error })
  } finally {
    client.destroy()
  }
  throw new Error(`Cannot use ${named}: it must hold a redis:// or rediss:// URL`)
}

function httpUrl(name: string, url: string | undefined): string | undefined {
  if (url && !(URL.canParse(url) && /^https?:[^?#]+$/.test(url)))
    refuse(`${name} must be an http:// or https:// URL without a query`)
  return url && `${url.replace(/\/+$/, '')}/`
}

function isRedisUrl(value = ''): value is string {
  // no more of it: several hosts, or a password as it is, are no URL to Node.js
  return /^rediss?(\+sentinel)?:\/\/./.test(value)
}

function refuse(rule: string): never {
  throw new Error(`Cannot read the environment: ${rule}`)
}
