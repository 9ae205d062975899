import type { Listening } from '../listening.ts'
import type { Run } from '../run.ts'
import { listen } from './listen.ts'

/** Has pollers listen that are to, by mode `listen` or by `lingerMs`. Who has none of these is deployed without its code, a fifth of a poller's. */
export function listening(): Listening {
  return Object.freeze({ listen: (run: object) => listen(run as Run) })
}
