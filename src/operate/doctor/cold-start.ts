import { assertKnownOptions } from '../../core/options.ts'
import type { Consumer, ConsumerSet } from '../../define/consumer.ts'
import { listConsumers } from '../../define/consumer-set.ts'
import type { Connection } from '../../group/connection.ts'
import { assertConnection } from '../../group/connection.ts'
import { applyDeployedSettings } from '../../run/event-source.ts'
import type { Middleware, MiddlewareRequest } from '../../run/scheduled.ts'
import { isWarmUpEvent } from '../../run/scheduled.ts'
import { diagnose } from './diagnose.ts'
import type { Finding } from './finding.ts'

/** What is used of a logger: Powertools' has it, as `console` has. */
export interface FindingLogger {
  info(message: string, fields: Record<string, unknown>): void
  warn(message: string, fields: Record<string, unknown>): void
  error(message: string, fields: Record<string, unknown>): void
}

export interface CheckAtColdStartOptions {
  /** The function's own connection. */
  readonly redis: Connection
  /** The timeouts of functions that `lambdaFunction` invokes, in milliseconds, by the event type that they handle. Default: not known. */
  readonly targetTimeoutsMs?: Readonly<Record<string, number>>
  /** Where errors and warnings go, one line each, and in one more what the server did not answer. Default: lines of JSON on the console. */
  readonly logger?: FindingLogger
  /** Given all findings, also those that are not logged. What it throws is a warning. */
  readonly onFindings?: (findings: readonly Finding[]) => void
}

/** The doctor takes no longer than that. */
const LIMIT_MS = 2_000

/** What is left of the invocation's time when the doctor must be gone. */
const MARGIN_MS = 500

/** The least that is of use. */
const WORTH_MS = 100

/**
 * A Middy middleware that has the doctor look once in an execution environment: at the end of the first invocation that leaves it time
 * (not for an event that only keeps the function warm), whatever came of that, for two seconds at most. It logs what is wrong, fails no invocation and delays no handler.
 *
 * @throws {TypeError} A bad option.
 */
export function checkAtColdStart(
  consumers: Consumer | readonly (Consumer | ConsumerSet)[],
  options: CheckAtColdStartOptions,
): Middleware {
  const action = 'check at cold start'
  assertKnownOptions(action, options, ['redis', 'targetTimeoutsMs', 'logger', 'onFindings'])
  assertConnection(action, options.redis)
  const { redis, targetTimeoutsMs = {}, logger = JSON_LINES, onFindings } = options
  const given = listConsumers(consumers)
  let isDone = false
  let functionTimeoutMs: number | undefined

  async function over({ event, context }: MiddlewareRequest): Promise<void> {
    const timeoutMs = Math.min(LIMIT_MS, (context.getRemainingTimeInMillis?.() ?? Infinity) - MARGIN_MS)
    if (isDone || isWarmUpEvent(event) || timeoutMs < WORTH_MS) return
    isDone = true
    try {
      const limits = { redis, timeoutMs, targetTimeoutsMs, ...(functionTimeoutMs && { functionTimeoutMs }) }
      const findings = await diagnose(applyDeployedSettings(given, process.env), limits)
      logFindings(logger, findings)
      onFindings?.(findings)
    } catch (error) {
      logger.warn(`Cannot ${action}: ${(error as Error).message}`, {})
    }
  }

  return {
    // whole seconds are what a function's timeout is given in
    before({ context }) {
      const remainingMs = isDone ? undefined : context.getRemainingTimeInMillis?.()
      functionTimeoutMs ??= remainingMs && Math.ceil(remainingMs / 1_000) * 1_000
    },
    after: over,
    onError: over,
  }
}

function logFindings(logger: FindingLogger, findings: readonly Finding[]): void {
  for (const { message, severity, ...fields } of findings) {
    if (severity === 'error') logger.error(message, fields)
    if (severity === 'warning') logger.warn(message, fields)
  }
  const untold = findings.filter(({ severity }) => severity === 'unknown')
  if (untold.length > 0)
    logger.info(`The server did not answer all: ${untold.length} checks of the doctor were not made`, {
      checks: [...new Set(untold.map(({ check }) => check))],
    })
}

/** Lambda's console takes them for what they are. */
const JSON_LINES: FindingLogger = {
  info: (message, fields) => console.info(JSON.stringify({ level: 'INFO', message, ...fields })),
  warn: (message, fields) => console.warn(JSON.stringify({ level: 'WARN', message, ...fields })),
  error: (message, fields) => console.error(JSON.stringify({ level: 'ERROR', message, ...fields })),
}
