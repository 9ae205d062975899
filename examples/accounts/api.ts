import { Metrics, MetricUnit } from '@aws-lambda-powertools/metrics'
import { load } from './account.ts'
import { Command, execute } from './commands.ts'
import { name } from './events.ts'

/** What a function URL hands over of a request. */
interface HttpRequest {
  readonly body?: string
  readonly isBase64Encoded?: boolean
  readonly queryStringParameters?: Readonly<Record<string, string>>
}

const metrics = new Metrics({ namespace: 'Accounts' })

/** Carries out the command that is its body, or answers the balance of `?accountId=…`. */
export async function handler({ body, isBase64Encoded, queryStringParameters }: HttpRequest) {
  if (body === undefined) return balance(queryStringParameters?.accountId)
  const command = Command.safeParse(parse(isBase64Encoded ? Buffer.from(body, 'base64').toString() : body))
  if (!command.success)
    return answer(400, { errors: command.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`) })
  const outcome = await execute(command.data)
  metrics.addMetric(outcome === 'done' ? 'CommandsDone' : 'CommandsRefused', MetricUnit.Count, 1)
  metrics.publishStoredMetrics()
  return answer(outcome === 'done' ? 200 : 409, { outcome })
}

async function balance(accountId: string | undefined) {
  if (!name.safeParse(accountId).success) return answer(400, { errors: ['accountId: must name an account'] })
  const { isOpen, cents, version } = await load(accountId as string)
  // as text: who reads JSON may make a double of a number
  return isOpen
    ? answer(200, { accountId, cents: String(cents), version })
    : answer(404, { outcome: 'no such account' })
}

function parse(text: string): unknown {
  try {
    // 9007199254740991.4 is a whole number as soon as it is a double
    return JSON.parse(text, (_, value, { source = '' } = {}) =>
      typeof value === 'number' && !/^-?\d+$/.test(source) ? Number.NaN : value,
    )
  } catch {
    return undefined
  }
}

function answer(statusCode: number, body: object) {
  return { statusCode, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
}
