export type { DeadLetter, UnreadableDeadLetter } from './core/parse-dead-letter.ts'
export type { DeadLetterFilters, DeadLetterGroup, DeadLetterSource } from './dead-letter-pages.ts'
export type {
  DeadLetterProgress,
  DropCounts,
  DropDeadLettersOptions,
  DropOutcome,
  ListDeadLettersOptions,
  RedriveCounts,
  RedriveDeadLettersOptions,
  RedriveOutcome,
} from './dead-letters.ts'
export { dropDeadLetters, listDeadLetters, readDeadLetter, redriveDeadLetters } from './dead-letters.ts'
export type {
  ConsumerInspection,
  DeadLettersInspection,
  DeliveryCounts,
  GroupInspection,
  Inspection,
  OldestPending,
  StreamInspection,
  Unknown,
} from './inspect/inspection.ts'
export type { InspectOptions } from './inspect.ts'
export { inspectStreams } from './inspect.ts'
