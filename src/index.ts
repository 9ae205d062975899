export type { Clock } from './clock.ts'
export { EventsTrimmedError, UnreadableEventError, VersionConflictError } from './core/aggregate-errors.ts'
export type { Backoff } from './core/backoff.ts'
export type { ClaimCheckOptions, PayloadStore } from './core/claim-check.ts'
export { claimCheck } from './core/claim-check.ts'
export type {
  Codec,
  DecodedEvent,
  EncodableEvent,
  LoadOptions,
  Offloaded,
  OffloadOptions,
  TwoWayCodec,
} from './core/codec.ts'
export { envelopeCodec } from './core/codec.ts'
export type { Bytes, Field } from './core/entry.ts'
export type { FilterMembers, FilterPattern, FilterRule, FilterValue } from './core/filter-patterns.ts'
export type { FlatCodecOptions } from './core/flat-codec.ts'
export { flatCodec } from './core/flat-codec.ts'
export type { DeadLetterReason } from './core/outcome.ts'
export { PayloadGoneError, PayloadStoreError } from './core/payload-errors.ts'
export type { BatchContext, BatchEvent, BatchHandler, BatchResponse } from './define/batch-handler.ts'
export type { Consumer, ConsumerOptions, ConsumerSet, ConsumerSetOptions, OnDeadLetter } from './define/consumer.ts'
export { defineConsumer, on } from './define/consumer.ts'
export type {
  ConsumerSettings,
  DeadLetterOptions,
  NewerVersion,
  NotForUs,
  PollMode,
  SettingOptions,
  Unrouted,
} from './define/consumer-settings.ts'
export type { DelayPromoter, Promotion, PromotionRequest } from './define/delay-promoter.ts'
export type { Event, EventDefinition, EventOf, EventOptions, PayloadOf, Upcasts } from './define/event.ts'
export { defineEvent } from './define/event.ts'
export type { EventFilter } from './define/filter-patterns.ts'
export { filterPatterns } from './define/filter-patterns.ts'
export type { EventHandler, HandlerContext, LambdaContext } from './define/handler.ts'
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
} from './define/observe.ts'
export type { BatchOptions } from './define/on-batch.ts'
export { onBatch } from './define/on-batch.ts'
export type {
  Decision,
  Policy,
  PolicyCommand,
  PolicyDefinition,
  PolicyJob,
  PolicyKeyRights,
  PolicyKind,
  PolicyMarker,
  PolicyQuestion,
  PolicyReply,
  PolicyRun,
  RunPolicy,
  StartGuard,
  Wrap,
} from './define/policy.ts'
export type { PrioritizedOptions } from './define/prioritized.ts'
export { prioritized } from './define/prioritized.ts'
export type { Route } from './define/route.ts'
export type { RouteOptions } from './define/route-options.ts'
export type { StreamSet } from './define/stream-set.ts'
export type { EffectPublishOptions, Effects, FieldExpectation, ScoreCondition } from './effects/effect-methods.ts'
export { effects } from './effects/effects.ts'
export type { ErrorCode, PayloadIssue } from './errors.ts'
export {
  BatchAnswerInvalidError,
  BatchItemFailedError,
  ExpiredEntryError,
  FunctionFailedError,
  HandlerTimeoutError,
  InvalidPayloadError,
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
export type { Connection } from './group/connection.ts'
export type { CancelAnswer } from './group/delays.ts'
export type { CircuitBreakerOptions } from './policies/circuit-breaker.ts'
export { circuitBreaker } from './policies/circuit-breaker.ts'
export type { ConcurrencyLimitOptions } from './policies/concurrency-limit.ts'
export { concurrencyLimit } from './policies/concurrency-limit.ts'
export { definePolicy } from './policies/define-policy.ts'
export type { IdempotentOptions } from './policies/idempotent.ts'
export { idempotent } from './policies/idempotent.ts'
export type { OrderedEvent, OrderingKey } from './policies/order/lane-names.ts'
export type { OrderedByOptions } from './policies/ordered-by.ts'
export { orderedBy } from './policies/ordered-by.ts'
export type { RateLimitOptions } from './policies/rate-limit.ts'
export { rateLimit } from './policies/rate-limit.ts'
export { BacklogFullError } from './publish/backlog-full-error.ts'
export type { PromoteDelaysOptions } from './publish/promote-delays.ts'
export { promoteDelays } from './publish/promote-delays.ts'
export type { DelayOptions, MaybeDelayOptions, Publication, PublishOptions } from './publish/publication.ts'
export type { Delayed, Published, Publisher } from './publish/publisher.ts'
export { createPublisher } from './publish/publisher.ts'
export type { PublisherOptions, Wake } from './publish/publisher-options.ts'
export type { ReadEventsOptions, StoredEvent } from './publish/read-events.ts'
export { readEvents } from './publish/read-events.ts'
export type { Backlog, ConsumerReport, Report } from './report.ts'
export type { ClaimerOptions, ClaimOptions } from './run/claimer.ts'
export { claim, createClaimer } from './run/claimer.ts'
export type { ClaimerWake } from './run/claimer-wake.ts'
export { listening } from './run/feed/listening.ts'
export type { ConsumerFailure } from './run/invocation-errors.ts'
export { InvocationFailedError, InvocationTooShortError } from './run/invocation-errors.ts'
export type { Listening } from './run/listening.ts'
export type { PollerOptions, PollOptions } from './run/poller.ts'
export { createPoller, poll } from './run/poller.ts'
export type { ScaleOut } from './run/scale-out.ts'
export type { Middleware, MiddlewareRequest, ScheduledHandler } from './run/scheduled.ts'
export type { RunOptions, RunSurroundings } from './run/targets.ts'
