export type { DeadLetter, UnreadableDeadLetter } from '../core/dead-letter/parse-dead-letter.ts'
export type {
  Analysis,
  FieldAnalysis,
  FrequencyAnalysis,
  FrequencyRow,
  HourAnalysis,
  LagAnalysis,
  MinuteRateAnalysis,
  NoEventAnalysis,
  PendingAnalysis,
  PendingGroup,
  PendingTypeRow,
  SampleAnalysis,
  SizeAnalysis,
  TimelineAnalysis,
  TypeRow,
} from './analyze/analysis.ts'
export { analyze } from './analyze/analyze.ts'
export type { AnalyzedFields, AnalyzeOptions, AnalyzeProgress } from './analyze/options.ts'
export type { ValueText } from './analyze/value-key.ts'
export type { DeadLetterFilters, DeadLetterGroup, DeadLetterSource } from './dead-letters/dead-letter-pages.ts'
export type {
  DeadLetterProgress,
  DropCounts,
  DropDeadLettersOptions,
  DropOutcome,
  ListDeadLettersOptions,
  RedriveCounts,
  RedriveDeadLettersOptions,
  RedriveOutcome,
} from './dead-letters/dead-letters.ts'
export { dropDeadLetters, listDeadLetters, readDeadLetter, redriveDeadLetters } from './dead-letters/dead-letters.ts'
export type { CheckAtColdStartOptions, FindingLogger } from './doctor/cold-start.ts'
export { checkAtColdStart } from './doctor/cold-start.ts'
export type { DoctorOptions } from './doctor/diagnose.ts'
export { diagnose } from './doctor/diagnose.ts'
export type { Finding, Severity } from './doctor/finding.ts'
export type { Repaired, RepairOptions } from './doctor/repair.ts'
export { repairIndexes } from './doctor/repair.ts'
export type { InspectOptions } from './inspect/inspect.ts'
export { inspectStreams } from './inspect/inspect.ts'
export type {
  AsideInspection,
  BreakerInspection,
  ConditionInspection,
  ConsumerInspection,
  DeadLettersInspection,
  DelaysInspection,
  DeliveryCounts,
  FirstOfKeyInspection,
  FlowInspection,
  GroupInspection,
  Inspection,
  JanitorInspection,
  KeepingInspection,
  KeyInspection,
  LimitInspection,
  OldestPending,
  OrderInspection,
  PauseInspection,
  SetGroupInspection,
  SetInspection,
  StreamInspection,
  TimedInspection,
  TimedSample,
  Unknown,
  WaitingInspection,
} from './inspect/inspection.ts'
export type { NamedSet } from './inspect/set-totals.ts'
export type { BreakerOptions, OpenBreaker } from './pause/breakers.ts'
export { closeBreakers, openBreakers } from './pause/breakers.ts'
export type { Pause, Paused, PauseOptions, PauseSource, Resumed, ResumeOptions } from './pause/pause.ts'
export { pause, resume } from './pause/pause.ts'
export type { AccessStrings } from './plan/access.ts'
export { accessOf } from './plan/access.ts'
export type { MemoryPartPlan, MemoryPlan } from './plan/memory.ts'
export type { PlanOptions, Rates } from './plan/options.ts'
export type { FunctionMonth, Plan, Price } from './plan/plan.ts'
export { plan } from './plan/plan.ts'
export type { RateLimitPlan } from './plan/rate-limits.ts'
export type { ExceededTimeout } from './plan/timeouts.ts'
