import type { Check } from './check.ts'
import { aging, index, setAside, unknownTypes } from './checks/aside.ts'
import { bytes, keyPrefix } from './checks/client.ts'
import { consumers } from './checks/consumers.ts'
import { deadLetters } from './checks/dead-letters.ts'
import { groupStart } from './checks/group-start.ts'
import { iam } from './checks/iam.ts'
import { eviction, memory } from './checks/memory.ts'
import { paused } from './checks/paused.ts'
import { claiming, pending } from './checks/pending.ts'
import { polling } from './checks/polling.ts'
import { retention } from './checks/retention.ts'
import { rights } from './checks/rights.ts'
import { clock, cluster, persistence, role, version } from './checks/server.ts'
import { slots } from './checks/slots.ts'
import { expiry, idsAhead, otherGroups, stream } from './checks/stream.ts'
import { timeouts } from './checks/timeouts.ts'

/** Every check that there is. */
export const CHECKS: readonly Check[] = [
  version,
  clock,
  role,
  cluster,
  eviction,
  memory,
  persistence,
  iam,
  bytes,
  keyPrefix,
  stream,
  expiry,
  idsAhead,
  otherGroups,
  timeouts,
  rights,
  groupStart,
  paused,
  retention,
  polling,
  claiming,
  pending,
  setAside,
  index,
  aging,
  unknownTypes,
  slots,
  consumers,
  deadLetters,
]
