import { expect, it } from 'vitest'
import { soakOutage } from '../../soak/outage.ts'

it('an outage makes no dead letter, and all are handled after it', async () => {
  const account = await soakOutage(4_000)

  expect(account.breaches).toEqual([])
  expect(account.failedCalls).toBeGreaterThan(5)
}, 120_000)
