import type { Books, BooksOptions } from './books.ts'
import { measure } from './measure.ts'
import { ROUNDS } from './rounds.ts'
import { Shop } from './shop.ts'

/** Runs every round, each of the faults once, in an order that the seed gives, and settles what is left. */
export async function keepBooks(seed: number, options: BooksOptions = {}): Promise<Books> {
  const shop = await Shop.open(seed, options)
  const [first, ...others] = [...ROUNDS]
  await first?.(shop)
  while (others.length > 0) {
    const [round] = others.splice(shop.random.integer(0, others.length), 1)
    await round?.(shop)
  }
  await shop.publishers.publishLater()
  await shop.settleAll()
  await measure(shop)
  return shop.close()
}
