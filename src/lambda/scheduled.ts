import middy from '@middy/core'
import type { LambdaContext } from '../handler.ts'

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
export interface ScheduledHandler<Report> {
  (event?: unknown, context?: Partial<LambdaContext>): Promise<Report>
  use(middlewares: Middleware | readonly Middleware[]): ScheduledHandler<Report>
}

/** Makes a Lambda handler of a run. */
export function createScheduledHandler<Report>(
  run: (event: unknown, context: Partial<LambdaContext>) => Promise<Report>,
): ScheduledHandler<Report> {
  const handler: unknown = middy((event: unknown, context: Partial<LambdaContext>) => run(event, context))
  return handler as ScheduledHandler<Report>
}
