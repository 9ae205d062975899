export type { BatchContext, BatchEvent, BatchHandler, BatchResponse } from './batch-handler.ts'
export type { ClaimerOptions } from './claimer.ts'
export { claim, createClaimer } from './claimer.ts'
export type { Clock } from './clock.ts'
export type { Consumer, ConsumerOptions, OnDeadLetter, RouteOptions } from './consumer.ts'
export { defineConsumer, on } from './consumer.ts'
export type { ConsumerSettings, DeadLetterOptions, PollMode, SettingOptions } from './consumer-settings.ts'
export type { Backoff } from './core/backoff.ts'
export type { Codec, DecodedEvent, FlatCodecOptions } from './core/codec.ts'
export { envelopeCodec, flatCodec } from './core/codec.ts'
export type { Bytes, Field } from './core/entry.ts'
export type { DeadLetterReason } from './core/outcome.ts'
export type { ConsumerFailure, ErrorCode, PayloadIssue } from './errors.ts'
export {
  BatchAnswerInvalidError,
  BatchItemFailedError,
  FunctionFailedError,
  HandlerTimeoutError,
  InvalidPayloadError,
  InvocationFailedError,
  InvocationTooShortError,
  MalformedEntryError,
  MillraceError,
  NonRetryableError,
  NoRouteError,
  OversizeEntryError,
  PublishFailedError,
  RedisConnectionError,
  RedisReplyError,
  RetryAfterError,
  UnavailableError,
  UnsupportedVersionError,
} from './errors.ts'
export type { Event, EventDefinition, EventOf, EventOptions, PayloadOf, Upcasts } from './event.ts'
export { defineEvent } from './event.ts'
export type { Backlog, Connection } from './group/group.ts'
export type { EventHandler, HandlerContext, LambdaContext } from './handler.ts'
export type { Middleware, MiddlewareRequest, ScheduledHandler } from './lambda/scheduled.ts'
export type {
  DeadLetterNotice,
  HandlerCall,
  Observed,
  ObservedDelivery,
  ObservedGroup,
  ObservedInvocation,
  ObservedRun,
  ObservedScopes,
  Observer,
  PublishCall,
} from './observe.ts'
export type { BatchOptions } from './on-batch.ts'
export { onBatch } from './on-batch.ts'
export type {
  Decision,
  Policy,
  PolicyCommand,
  PolicyDefinition,
  PolicyJob,
  PolicyKind,
  PolicyNeeds,
  PolicyReply,
  PolicyRun,
  RunPolicy,
  StartGuard,
  Wrap,
} from './policy.ts'
export type { PollerOptions, PollOptions } from './poller.ts'
export { createPoller, poll } from './poller.ts'
export type { Publication, Published, Publisher, PublisherOptions, PublishOptions, Wake } from './publisher.ts'
export { createPublisher } from './publisher.ts'
export type { ConsumerReport, Report } from './report.ts'
export type { Route } from './route.ts'
export type { ScaleOut } from './run/scale-out.ts'
export type { RunOptions, RunTarget } from './run/targets.ts'
