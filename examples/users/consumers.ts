import type { Consumer } from 'millrace'
import { defineConsumer, idempotent, on } from 'millrace'
import { changeEmail, deactivateUser, registerUser, renameUser } from './decide.ts'
import * as events from './events.ts'
import { reportFailure } from './outcomes.ts'
import { countDeactivated, countMoved, countRegistered, showProfile } from './projections.ts'

const DAY_MS = 86_400_000
const use = [idempotent({ ttlMs: DAY_MS })]
/** As many at once as are read at once: handlers wait for Redis, or for nothing, and are settled together. */
const concurrency = 100

/** Two commands for one user or address at once: one of them comes again, so the back-off is short and deliveries are many. */
export const deciding = defineConsumer({
  stream: events.COMMANDS,
  group: 'deciding',
  routes: [
    on(events.RegisterUser, registerUser),
    on(events.ChangeEmail, changeEmail),
    on(events.RenameUser, renameUser),
    on(events.DeactivateUser, deactivateUser),
  ],
  // an older one may have been carried out, and its marker gone
  maxAgeMs: DAY_MS,
  concurrency,
  maxDeliveries: 10,
  backoff: { firstMs: 100, factor: 2, maxMs: 10_000 },
  use,
  onDeadLetter: reportFailure,
})

export const directory = defineConsumer({
  stream: events.EVENTS,
  group: 'directory',
  routes: [
    on(events.UserRegistered, countRegistered),
    on(events.EmailChanged, countMoved),
    on(events.UserDeactivated, countDeactivated),
  ],
  unrouted: 'ignore',
  concurrency,
  use,
})

/** One projection of profiles, from the first event on. */
function defineProfiles(version: string): Consumer {
  if (!/^v\d+$/.test(version))
    throw new RangeError(`PROFILES must be versions as in v1,v2, got ${JSON.stringify(version)}`)
  return defineConsumer({
    stream: events.EVENTS,
    group: `profiles-${version}`,
    routes: [
      on(events.UserRegistered, showProfile),
      on(events.EmailChanged, showProfile),
      on(events.UserRenamed, showProfile),
      on(events.UserDeactivated, showProfile),
    ],
    startAt: '0',
    concurrency,
  })
}

/** `PROFILES` names those that are kept: `v1`, and `v1,v2` while the second one is made. */
export const profiles = (process.env.PROFILES || 'v1').split(',').map(defineProfiles)
export const all = [deciding, directory, ...profiles]
