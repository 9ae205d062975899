import middy from '@middy/core'
import type { LambdaContext } from '../handler.ts'

/** A middleware as Middy knows it; typed loosely, so that any of Middy's and Powertools' fit. */
export interface Middleware {
  // biome-ignore lint/suspicious/noExplicitAny: middlewares are typed for events and results of their own
  before?: (request: any) => unknown
  // biome-ignore lint/suspicious/noExplicitAny: as above
  after?: (request: any) => unknown
  // biome-ignore lint/suspicious/noExplicitAny: as above
  onError?: (request: any) => unknown
}

/** A Lambda handler that a schedule wakes. It is a Middy handler: `.use()` adds middlewares. */
export interface ScheduledHandler<Report> {
  (event?: unknown, context?: Partial<LambdaContext>): Promise<Report>
  use(middlewares: Middleware | readonly Middleware[]): ScheduledHandler<Report>
}

/** Makes a Lambda handler; `run` gets Lambda's context and the milliseconds left. */
export function createScheduledHandler<Report>(
  run: (context: Partial<LambdaContext>, remainingMs: number | undefined) => Promise<Report>,
): ScheduledHandler<Report> {
  const handler = middy(async (_event: unknown, context: Partial<LambdaContext> = {}) =>
    run(context, context.getRemainingTimeInMillis?.()),
  )
  return handler as unknown as ScheduledHandler<Report>
}
