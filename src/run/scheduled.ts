import middy from '@middy/core'
import type { LambdaContext } from '../define/handler.ts'
import { type Report, sumReports } from '../report.ts'

/** An invocation on its way through the middlewares. */
export interface MiddlewareRequest {
  event: unknown
  context: LambdaContext
  response: unknown
  error: Error | null | undefined
  internal: Record<string, unknown>
}

/** A middleware as Middy knows it. Methods, so that those of Middy and Powertools fit, which are typed for events of their own. */
export interface Middleware {
  before?(request: MiddlewareRequest): unknown
  after?(request: MiddlewareRequest): unknown
  onError?(request: MiddlewareRequest): unknown
}

/** A Lambda handler that a schedule wakes. It is a Middy handler: `.use()` adds middlewares. */
export interface ScheduledHandler<Result> {
  (event?: unknown, context?: Partial<LambdaContext>): Promise<Result>
  use(middlewares: Middleware | readonly Middleware[]): ScheduledHandler<Result>
}

/** Whether an event only keeps the function warm, as those of serverless-plugin-warmup and lambda-warmer do. */
export function isWarmUpEvent(event: unknown): boolean {
  const { source, warmer } = (event ?? {}) as { readonly source?: unknown; readonly warmer?: unknown }
  return source === 'serverless-plugin-warmup' || warmer === true
}

/**
 * Makes a Lambda handler of a run. An event that only keeps the function warm is answered at once: nothing is asked of Redis, and no consumer
 * reports.
 */
export function createScheduledHandler(
  action: Report['action'],
  run: (event: unknown, context: Partial<LambdaContext>) => Promise<Report>,
): ScheduledHandler<Report> {
  return createHandler(() => ({ ...sumReports(action, []), drained: false }), run)
}

/** Makes a Lambda handler of any run, with what it answers to an event that only keeps the function warm. */
export function createHandler<Result>(
  warm: () => Result,
  run: (event: unknown, context: Partial<LambdaContext>) => Promise<Result>,
): ScheduledHandler<Result> {
  const handle = (event: unknown, context: Partial<LambdaContext>) =>
    isWarmUpEvent(event) ? warm() : run(event, context)
  // a run ends before its time is over, with its report; Middy would end it without
  const handler: unknown = middy(handle, { timeoutEarlyInMillis: 0 })
  return handler as ScheduledHandler<Result>
}
