import { randomUUID } from 'node:crypto'
import type { LambdaContext, Report, ScheduledHandler } from 'millrace'

/** What runs on a schedule, and who hears how each invocation went. */
export interface Wakeup {
  readonly functionName: string
  readonly everyMs: number
  /** How long it may take. Default 30 seconds. */
  readonly timeoutMs?: number
  readonly handler: ScheduledHandler<Report>
  readonly onEnd: (result: Report | Error) => void
}

/** A schedule in place of EventBridge's, and invocations in place of Lambda's. */
export interface Schedule {
  /** Wakes nobody any more; resolves once the invocations that run have ended. */
  stop(): Promise<void>
}

const FUNCTION_TIMEOUT_MS = 30_000

/** Wakes each wakeup at once and then at its rate, whether or not its last invocation has ended. */
export function startSchedule(wakeups: readonly Wakeup[]): Schedule {
  const running = new Set<Promise<void>>()
  function invoke(wakeup: Wakeup): void {
    const invocation = wakeup
      .handler({ source: 'aws.scheduler' }, lambdaContext(wakeup.functionName, wakeup.timeoutMs))
      .then(wakeup.onEnd, wakeup.onEnd)
      .finally(() => running.delete(invocation))
    running.add(invocation)
  }
  const timers = wakeups.map((wakeup) => {
    invoke(wakeup)
    return setInterval(() => invoke(wakeup), wakeup.everyMs)
  })
  return {
    async stop() {
      for (const timer of timers) clearInterval(timer)
      await Promise.all(running)
    },
  }
}

/** What Lambda gives a function, with half a minute to go unless it says otherwise. */
export function lambdaContext(functionName: string, timeoutMs = FUNCTION_TIMEOUT_MS): LambdaContext {
  const deadline = performance.now() + timeoutMs
  return {
    functionName,
    functionVersion: '$LATEST',
    invokedFunctionArn: `arn:aws:lambda:eu-central-1:123456789012:function:${functionName}`,
    memoryLimitInMB: '256',
    awsRequestId: randomUUID(),
    logGroupName: `/aws/lambda/${functionName}`,
    logStreamName: 'demo',
    callbackWaitsForEmptyEventLoop: true,
    getRemainingTimeInMillis: () => Math.max(0, deadline - performance.now()),
  }
}
