export type {
  MemoryConnection,
  MemoryDelayed,
  MemoryEntry,
  MemoryOptions,
  MemoryPending,
  MemoryValue,
} from '../group/memory/memory-connection.ts'
export { connectMemory } from '../group/memory/memory-connection.ts'
export { createBatchContext, createHandlerContext, effectsOf } from './handler-context.ts'
export type { MemoryStore } from './memory-store.ts'
export { memoryStore } from './memory-store.ts'
export type { VirtualClock, VirtualClockOptions } from './virtual-clock.ts'
export { createVirtualClock } from './virtual-clock.ts'
