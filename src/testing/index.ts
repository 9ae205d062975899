export type {
  MemoryConnection,
  MemoryDelayed,
  MemoryEntry,
  MemoryOptions,
  MemoryPending,
} from '../group/memory/memory-connection.ts'
export { connectMemory } from '../group/memory/memory-connection.ts'
export { createHandlerContext } from './handler-context.ts'
export type { VirtualClock, VirtualClockOptions } from './virtual-clock.ts'
export { createVirtualClock } from './virtual-clock.ts'
