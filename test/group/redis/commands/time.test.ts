import { expect, test } from 'vitest'
import { parseTime } from '../../../../src/group/redis/commands/time.ts'

test('parseTime() reads milliseconds', () => {
  expect(parseTime([Buffer.from('1795520719'), Buffer.from('712999')])).toBe(1_795_520_719_712)
})
