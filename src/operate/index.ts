export type { DeadLetter, UnreadableDeadLetter } from '../core/dead-letter/parse-dead-letter.ts'
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
export type { InspectOptions } from './inspect/inspect.ts'
export { inspectStreams } from './inspect/inspect.ts'
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
