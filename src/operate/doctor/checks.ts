import type { DoctorCheck } from './check.ts'
import { aging, index, setAside, unknownTypes } from './checks/aside.ts'
import { clientBytesCheck, keyPrefixCheck } from './checks/client.ts'
import { consumerNamesCheck } from './checks/consumers.ts'
import { deadLetterSlotCheck, deadLettersCheck } from './checks/dead-letters.ts'
import { delayKeysCheck, overdueCheck, unreadableDelaysCheck } from './checks/delays.ts'
import { breakerCheck, rateLimitCheck, starvedCheck } from './checks/flow.ts'
import { groupStartCheck } from './checks/group-start.ts'
import { iamCheck } from './checks/iam.ts'
import { evictionCheck, memoryCheck } from './checks/memory.ts'
import { heldWithoutOrderCheck, lanesFillCheck, orderedKeyCheck, orderedSlotCheck } from './checks/order.ts'
import { paused } from './checks/paused.ts'
import { claimingCheck, pendingCheck } from './checks/pending.ts'
import { pollingCheck } from './checks/polling.ts'
import { deadGroupCheck, janitorCheck, objectiveCheck, registryCheck } from './checks/registry.ts'
import { retentionCheck } from './checks/retention.ts'
import { policyRightsCheck } from './checks/rights.ts'
import { sameGroupCheck } from './checks/same-group.ts'
import {
  clusterKeysCheck,
  persistenceCheck,
  serverClockCheck,
  serverRoleCheck,
  serverVersionCheck,
} from './checks/server.ts'
import { sizingCheck } from './checks/sizing.ts'
import { slotsCheck } from './checks/slots.ts'
import { idsAheadOfClockCheck, otherGroupsCheck, streamCheck, streamExpiryCheck } from './checks/stream.ts'
import { timeoutsCheck } from './checks/timeouts.ts'

/** Every check that there is. */
export const DOCTOR_CHECKS: readonly DoctorCheck[] = [
  serverVersionCheck,
  serverClockCheck,
  serverRoleCheck,
  clusterKeysCheck,
  evictionCheck,
  memoryCheck,
  sizingCheck,
  persistenceCheck,
  iamCheck,
  clientBytesCheck,
  keyPrefixCheck,
  streamCheck,
  streamExpiryCheck,
  idsAheadOfClockCheck,
  otherGroupsCheck,
  registryCheck,
  janitorCheck,
  delayKeysCheck,
  overdueCheck,
  unreadableDelaysCheck,
  sameGroupCheck,
  timeoutsCheck,
  policyRightsCheck,
  groupStartCheck,
  paused,
  retentionCheck,
  objectiveCheck,
  deadGroupCheck,
  pollingCheck,
  claimingCheck,
  pendingCheck,
  setAside,
  index,
  aging,
  unknownTypes,
  breakerCheck,
  rateLimitCheck,
  starvedCheck,
  orderedKeyCheck,
  orderedSlotCheck,
  heldWithoutOrderCheck,
  lanesFillCheck,
  slotsCheck,
  consumerNamesCheck,
  deadLettersCheck,
  deadLetterSlotCheck,
]
