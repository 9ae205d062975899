import type { LambdaContext } from '../handler.ts'
import type { ReportLogger } from './report-logger.ts'

/** From the least to what silences all. Lambda says FATAL for CRITICAL. */
const LEVELS = ['TRACE', 'DEBUG', 'INFO', 'WARN', 'ERROR', 'CRITICAL', 'SILENT']

/**
 * Writes lines as a `Logger` of Powertools would: the same keys, under the same settings (`POWERTOOLS_SERVICE_NAME`, `POWERTOOLS_LOG_LEVEL`,
 * `AWS_LAMBDA_LOG_LEVEL`), past the console, to which Lambda adds. Its 20 KB are not worth a cold start's time for one line an invocation.
 */
export function createLogLines(env: NodeJS.ProcessEnv): ReportLogger {
  const { POWERTOOLS_SERVICE_NAME: service = 'service_undefined', LOG_LEVEL, POWERTOOLS_LOG_LEVEL = LOG_LEVEL } = env
  const least = Math.max(rankOf(POWERTOOLS_LOG_LEVEL), rankOf(env.AWS_LAMBDA_LOG_LEVEL))
  const at = (level: string) => (message: string, fields: Record<string, unknown>) => {
    if (rankOf(level) < (least < 0 ? rankOf('INFO') : least)) return
    const line = { level, message, timestamp: new Date().toISOString(), service, ...fields }
    process.stdout.write(`${JSON.stringify(line)}\n`)
  }
  return { debug: at('DEBUG'), info: at('INFO'), warn: at('WARN'), error: at('ERROR') }
}

/** Lambda's context under Powertools' keys. */
export function contextFields(context: Partial<LambdaContext>, env: NodeJS.ProcessEnv): Record<string, unknown> {
  return {
    function_name: context.functionName,
    function_memory_size: context.memoryLimitInMB,
    function_arn: context.invokedFunctionArn,
    function_request_id: context.awsRequestId,
    xray_trace_id: /Root=([^;]+)/.exec(env._X_AMZN_TRACE_ID ?? '')?.[1],
  }
}

function rankOf(level = ''): number {
  return LEVELS.indexOf(level === 'FATAL' ? 'CRITICAL' : level)
}
