import type { Consumer } from 'millrace'
import { defineConsumer, idempotent, on } from 'millrace'
import { changeEmail, deactivateUser, registerUser, renameUser } from './decide.ts'
import {
  ChangeEmail,
  COMMANDS,
  DeactivateUser,
  EmailChanged,
  EVENTS,
  RegisterUser,
  RenameUser,
  UserDeactivated,
  UserRegistered,
  UserRenamed,
} from './events.ts'
import { tellSender } from './outcomes.ts'
import { countDeactivated, countMoved, countRegistered, showProfile } from './projections.ts'

const DAY_MS = 86_400_000
const use = [idempotent({ ttlMs: DAY_MS })]

/** Two commands for one user or address at once: one of them comes again. Hence the short back-off and the many deliveries. */
export const deciding = defineConsumer({
  stream: COMMANDS,
  group: 'deciding',
  routes: [
    on(RegisterUser, registerUser),
    on(ChangeEmail, changeEmail),
    on(RenameUser, renameUser),
    on(DeactivateUser, deactivateUser),
  ],
  maxDeliveries: 10,
  backoff: { firstMs: 100, factor: 2, maxMs: 10_000 },
  use,
  onDeadLetter: tellSender,
})

export const directory = defineConsumer({
  stream: EVENTS,
  group: 'directory',
  routes: [on(UserRegistered, countRegistered), on(EmailChanged, countMoved), on(UserDeactivated, countDeactivated)],
  unrouted: 'ignore',
  use,
})

/** One projection of profiles, from the first event on. */
function defineProfiles(version: string): Consumer {
  if (!/^v\d+$/.test(version))
    throw new RangeError(`PROFILES must be versions as in v1,v2, got ${JSON.stringify(version)}`)
  return defineConsumer({
    stream: EVENTS,
    group: `profiles-${version}`,
    routes: [
      on(UserRegistered, showProfile),
      on(EmailChanged, showProfile),
      on(UserRenamed, showProfile),
      on(UserDeactivated, showProfile),
    ],
    startAt: '0',
  })
}

/** `PROFILES` names those that are kept: `v1`, and `v1,v2` while the second one is made. */
export const profiles = (process.env.PROFILES || 'v1').split(',').map(defineProfiles)
