import { expect, it } from 'vitest'
import { soakOutage } from '../../soak/outage.ts'

it('an outage costs no entry its life, holds up no other type, and all are handled after it', async () => {
  const account = await soakOutage(4_000)

  expect(account.breaches).toEqual([])
  expect(account.failedCalls).toBeGreaterThan(5)
}, 120_000)
