import { describe, expect, it } from 'vitest'
import { KeyInHand } from '../../../src/policies/order/key-in-hand.ts'
import type { Job } from '../../../src/run/job.ts'

/** Jobs of a key that count how often somebody asks for their ids. */
function jobsOf(ids: readonly string[]) {
  const key = new KeyInHand('a')
  let asked = 0
  const make = (id: string) =>
    ({
      get id() {
        asked++
        return id
      },
    }) as Job
  const jobs = ids.map(make)
  for (const job of jobs) key.add(job, () => false)
  return { key, jobs, make, asked: () => asked }
}

const idsOf = (jobs: readonly Job[]) => jobs.map(({ id }) => id)

describe('behind()', () => {
  it('answers all that comes after one that stays undone, and none of it again', () => {
    const { key, jobs } = jobsOf(['1-0', '2-0', '3-0'])
    const [first, second] = jobs as [Job, Job]
    key.remove(first)

    expect(idsOf(key.behind(first))).toEqual(['2-0', '3-0'])
    key.remove(second)
    expect(key.behind(second)).toEqual([])
  })

  it.each([
    ['what came since', '4-0', ['4-0']],
    ['what came between them', '2-5', ['2-5', '3-0']],
  ])('answers %s', (_what, id, expected) => {
    const { key, jobs, make } = jobsOf(['1-0', '2-0', '3-0'])
    const [first, second] = jobs as [Job, Job]
    key.remove(first)
    key.behind(first)
    key.add(make(id), () => false)
    key.remove(second)

    expect(idsOf(key.behind(second))).toEqual(expected)
  })

  it('answers what comes after an earlier one as well', () => {
    const { key, jobs } = jobsOf(['1-0', '2-0', '3-0', '4-0'])
    const [first, second, third] = jobs as [Job, Job, Job]
    key.remove(third)

    expect(idsOf(key.behind(third))).toEqual(['4-0'])
    key.remove(first)
    expect(idsOf(key.behind(first))).toEqual(['2-0', '4-0'])
    key.remove(second)
    expect(key.behind(second)).toEqual([])
  })

  it('answers again what is undone no more', () => {
    const { key, jobs } = jobsOf(['1-0', '2-0', '3-0'])
    const [first, second] = jobs as [Job, Job]
    key.remove(first)
    for (const { id } of key.behind(first)) key.leaveUndone(id)
    key.forgetUndone('3-0')
    key.remove(second)

    expect(idsOf(key.behind(second))).toEqual(['3-0'])
  })

  it('inspects each of a thousand that end one after the other a few times', () => {
    const ids = Array.from({ length: 1_000 }, (_, n) => `${n + 1}-0`)
    const { key, jobs, asked } = jobsOf(ids)
    const before = asked()
    let answered = 0
    for (const job of jobs) {
      key.remove(job)
      answered += key.behind(job).length
    }

    expect(answered).toBe(999)
    expect(asked() - before).toBeLessThan(10 * ids.length)
  })
})
