export type { MemoryConnection, MemoryEntry, MemoryOptions, MemoryPending } from '../group/memory-connection.ts'
export { connectMemory } from '../group/memory-connection.ts'
export type { VirtualClock, VirtualClockOptions } from './virtual-clock.ts'
export { createVirtualClock } from './virtual-clock.ts'
