import { randomUUID } from 'node:crypto'
import { dirname } from 'node:path'
import { ExecutionEnvironment } from '../../src/local/execution-environment.ts'

/** One cold start, in milliseconds. */
export interface ColdStart {
  /** From the process's start until the function asks for its first event. */
  readonly initMs: number
  /** From its first event until it asks for the next. */
  readonly firstMs: number
}

/** What serverless.yml gives the poller. */
const FUNCTION = { memoryMb: 512, timeoutMs: 55_000 }
const WHERE = { region: 'eu-west-1', accountId: '123456789012', endpoint: 'http://127.0.0.1:9' }

/**
 * Starts a bundle in AWS's runtime interface client, has it handle one event, and ends it.
 *
 * @param file The bundle, which exports `handler`.
 * @throws {Error} The function failed.
 */
export async function startCold(file: string, redisUrl: string): Promise<ColdStart> {
  const environment = new ExecutionEnvironment(
    {
      ...FUNCTION,
      name: 'cold',
      handler: file.slice(dirname(file).length + 1).replace(/\.mjs$/, '.handler'),
      codeFolder: dirname(file),
      environment: {
        REDIS_URL: redisUrl,
        NODE_OPTIONS: '--enable-source-maps',
        POWERTOOLS_SERVICE_NAME: 'orders',
        ORDERS_STREAM: 'orders',
      },
      reservedConcurrency: 1,
      maxRetryAttempts: 0,
      maxEventAgeMs: 60_000,
    },
    WHERE,
    () => {},
  )
  try {
    const { payload, functionError, durationMs, initMs } = await environment.invoke({
      requestId: randomUUID(),
      payload: '{}',
    })
    if (functionError || initMs === undefined) throw new Error(`Cannot measure ${file}: ${payload}`)
    return { initMs, firstMs: durationMs }
  } finally {
    await environment.end()
  }
}
