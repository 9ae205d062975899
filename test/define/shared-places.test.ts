import { expect, it } from 'vitest'
import { SharedPlaces } from '../../src/define/shared-places.ts'

it('who is alone starts, whosever turn it is', async () => {
  const places = new SharedPlaces(2)
  const [high, low] = [places.join(2), places.join(1)]
  high.taker = { wantsPlace: true, open: 1, fill: () => {}, notify: () => {} }

  expect([high.mayStart, low.mayStart]).toEqual([true, false])
  await low.alone()
  expect([high.mayStart, low.mayStart]).toEqual([false, true])
  low.endAlone()
  expect([high.mayStart, low.mayStart]).toEqual([true, false])
})
