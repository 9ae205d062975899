import type { TakeScripts } from '../../group/group.ts'
import { takeSomeGuardedScript, takeSomeScript } from '../../group/redis/scripts/take-some.ts'

/** What takes the next entries that wait for a circuit breaker, and no more. A line feed is in no condition. */
export const TAKE_SOME: TakeScripts = {
  plain: takeSomeScript,
  guarded: takeSomeGuardedScript,
  argumentOf: (one) => (typeof one === 'string' ? one : `${one.condition}\n${one.most} ${one.after ?? ''}`),
}
