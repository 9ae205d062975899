import { expect, it } from 'vitest'
import { OversizeEntryError } from '../../src/errors.ts'
import { BuiltInPolicy } from '../../src/run/built-in-policy.ts'

const job = { entryId: '1-0', deliveryCount: 1, fields: [], event: undefined, bytes: 11 }

it.each([
  [10, { action: 'deadLetter', reason: 'oversize', error: new OversizeEntryError(11, 10) }],
  [11, undefined],
])('an entry of 11 bytes with maxEntryBytes %i is decided before it is decoded', (maxEntryBytes, decision) => {
  const alwaysOn = new BuiltInPolicy({ maxEntryBytes } as never)

  expect(alwaysOn.inspect(job)).toEqual(decision)
})

it('nothing is read once a route takes no work', () => {
  const alwaysOn = new BuiltInPolicy({ maxEntryBytes: 1 } as never)
  const before = alwaysOn.limit()
  alwaysOn.unavailable.add({} as never)

  expect([before, alwaysOn.limit()]).toEqual([Infinity, 0])
})
