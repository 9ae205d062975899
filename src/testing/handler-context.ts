import type { HandlerContext } from '../define/handler.ts'

/**
 * A context for calling a handler by itself, as on the first delivery of an entry with all its time left.
 *
 * @param members What the test is about, such as `{ deliveryCount: 3 }`.
 */
export function createHandlerContext(members: Partial<HandlerContext> = {}): HandlerContext {
  return {
    functionName: 'handler',
    functionVersion: '$LATEST',
    invokedFunctionArn: 'arn:aws:lambda:eu-west-1:123456789012:function:handler',
    memoryLimitInMB: '128',
    awsRequestId: '00000000-0000-4000-8000-000000000000',
    logGroupName: '/aws/lambda/handler',
    logStreamName: 'handler',
    callbackWaitsForEmptyEventLoop: false,
    stream: 'stream',
    group: 'group',
    consumerName: 'poller-0',
    entryId: '1-0',
    deliveryCount: 1,
    maxDeliveries: 5,
    idempotencyKey: 'group:stream:1-0',
    signal: new AbortController().signal,
    fields: [],
    getRemainingTimeInMillis: () => 10_000,
    ...members,
  }
}
