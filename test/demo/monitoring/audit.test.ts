import { expect, test } from 'vitest'
import { isEven } from '../../../demo/equation.ts'
import { auditLevel } from '../../../demo/monitoring/audit.ts'

const at = Math.floor(Date.now() / 60_000) * 60_000
const samples = ['1', '2.5'].map((value) => ({ source: 's', metric: 'm', value, at }))
/** As the server holds both. */
const BUCKET = { at, sums: { p0: '1', p51: '1', units: '3', micros: '500000' }, ends: [1, 2.5] }

async function isRight(bucket: Partial<typeof BUCKET> | undefined): Promise<boolean> {
  const { equations } = await auditLevel(samples, '1m', async () => (bucket ? [{ ...BUCKET, ...bucket }] : []))
  return equations.every(isEven)
}

test('auditLevel() finds nothing wrong with the right bucket', async () => {
  expect(await isRight({})).toBe(true)
})

test.each([
  ['a bucket that is not there', undefined],
  ['a sample that is counted twice', { sums: { ...BUCKET.sums, p0: '2' } }],
  ['a sum that is a millionth off', { sums: { ...BUCKET.sums, micros: '500001' } }],
  ['a wrong extreme', { ends: [1, 2] }],
  ['a quantile that is more than 1 % off', { sums: { ...BUCKET.sums, p0: '0', p5: '1' } }],
])('auditLevel() notices %s', async (_what, bucket) => {
  expect(await isRight(bucket)).toBe(false)
})
