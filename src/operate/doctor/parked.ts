import { PARKED_CONSUMER } from '../../core/keys.ts'
import type { ConsumerInfo } from '../../group/redis/commands/xinfo-consumers.ts'

/** How many entries of a group are set aside. */
export function parkedOf(consumers: readonly Pick<ConsumerInfo, 'name' | 'pending'>[]): number {
  return consumers.find(({ name }) => name === PARKED_CONSUMER)?.pending ?? 0
}
