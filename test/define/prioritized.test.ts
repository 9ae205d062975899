import { createPublisher, defineConsumer, defineEvent, on, prioritized } from 'millrace'
import { connectMemory } from 'millrace/testing'
import { describe, expect, it } from 'vitest'
import * as z from 'zod/mini'
import { SharedPlaces } from '../../src/define/shared-places.ts'

const Job = defineEvent('Job', { payload: z.object({ id: z.string() }) })
const jobs = prioritized('jobs', ['high', 'normal', 'low'])
const routes = [on(Job, () => {})]

describe('prioritized()', () => {
  it('names a stream a priority, all in one hash slot', () => {
    expect(jobs).toMatchObject({ name: 'jobs', streams: ['{jobs}:high', '{jobs}:normal', '{jobs}:low'] })
    expect(prioritized('{shop}:jobs', ['a', 'b']).streams).toEqual(['{shop}:jobs:a', '{shop}:jobs:b'])
  })

  it.each([
    ['no name', () => prioritized('', ['a', 'b']), 'name must be a string that is not empty'],
    ['one priority', () => prioritized('jobs', ['a']), 'priorities must be an array of 2 to 8, the highest first'],
    ['nine', () => prioritized('jobs', 'abcdefghi'.split('')), 'priorities must be an array of 2 to 8'],
    ['the same twice', () => prioritized('jobs', ['a', 'a']), 'priority "a" must appear once, got it twice'],
    ['a brace', () => prioritized('jobs', ['a', 'b}']), 'letters, digits, "_" and "-", got "b}"'],
    [
      'another default',
      () => prioritized('jobs', ['a', 'b'], { default: 'c' as 'a' }),
      'default must be one of "a", "b", got "c"',
    ],
    [
      'a weight of none',
      () => prioritized('jobs', ['a', 'b'], { weights: { a: 1 } as never }),
      'weights.b must be a number, got undefined',
    ],
    [
      'a weight of 0',
      () => prioritized('jobs', ['a', 'b'], { weights: { a: 1, b: 0 } }),
      'weights.b must be >= 1, got 0',
    ],
    [
      'rising weights',
      () => prioritized('jobs', ['a', 'b'], { weights: { a: 1, b: 2 } }),
      'weights must not rise towards lower priorities',
    ],
    ['a name with half a tag', () => prioritized('jo}bs', ['a', 'b']), 'must carry a hash tag'],
  ])('refuses %s', (_name, make, message) => {
    expect(make).toThrow(message)
  })

  it('gives a consumer for each stream, with the same settings, and its part of maxBytes', () => {
    const consumers = defineConsumer({ stream: jobs, group: 'work', routes, maxBytes: 3_000, batchSize: 7 })

    expect(
      consumers.map(({ stream, group, settings, set }) => [
        stream,
        group,
        settings.batchSize,
        settings.maxBytes,
        set?.weight,
      ]),
    ).toEqual([
      ['{jobs}:high', 'work', 7, 1_000, 4],
      ['{jobs}:normal', 'work', 7, 1_000, 2],
      ['{jobs}:low', 'work', 7, 1_000, 1],
    ])
    expect(consumers[0]?.keys.deadLetters).toBe('{jobs}:high:work:dlq')
  })

  it.each([
    [
      'an entry id as start',
      { startAt: '1-0' },
      'startAt must be "0" or "$", since an entry id is of one stream, got "1-0"',
    ],
    [
      'dead letters in another slot',
      { deadLetters: { stream: 'elsewhere' } },
      "deadLetters.stream must lie in the stream's hash slot",
    ],
    ['no number of bytes', { maxBytes: 0 }, 'maxBytes must be >= 1, got 0'],
    ['an unknown option', { weights: {} }, 'unknown'],
  ])('a consumer refuses %s', (_name, options, message) => {
    expect(() => defineConsumer({ stream: jobs, group: 'work', routes, ...(options as object) })).toThrow(message)
  })
})

describe('a publisher by priority', () => {
  const redis = connectMemory()
  const publisher = createPublisher({ stream: jobs, redis })

  it('refuses an unknown priority, and none, and names those there are', async () => {
    const rule = 'Cannot publish to stream "jobs": priority must be one of "high", "normal", "low", got'
    await expect(publisher.publish(Job, { id: 'a' }, { priority: 'urgent' })).rejects.toThrow(`${rule} "urgent"`)
    await expect(publisher.publish(Job, { id: 'a' })).rejects.toThrow(`${rule} none`)
    await expect(
      publisher.publishMany([
        [Job, { id: 'a' }, { priority: 'high' }],
        [Job, { id: 'b' }, { priority: 'urgent' }],
      ]),
    ).rejects.toThrow(`${rule} "urgent"`)
    expect(redis.entries('{jobs}:high')).toEqual([])
  })

  it('takes the default of the set, and answers in the order of what was given', async () => {
    const stream = prioritized('tasks', ['high', 'low'], { default: 'low' })
    const tasks = createPublisher({ stream, redis })

    const published = await tasks.publishMany([
      [Job, { id: 'a' }, { eventId: 'a' }],
      [Job, { id: 'b' }, { eventId: 'b', priority: 'high' }],
      [Job, { id: 'c' }, { eventId: 'c' }],
    ])

    expect(published.map(({ eventId }) => eventId)).toEqual(['a', 'b', 'c'])
    expect(redis.entries('{tasks}:low').map(({ id }) => id)).toEqual([published[0].entryId, published[2].entryId])
    expect(redis.entries('{tasks}:high').map(({ id }) => id)).toEqual([published[1].entryId])
  })

  it('a plain publisher refuses a priority', async () => {
    const plain = createPublisher({ stream: 'plain', redis })
    await expect(plain.publish(Job, { id: 'a' }, { priority: 'high' })).rejects.toThrow(
      'priority needs a publisher of prioritized streams',
    )
  })

  it('refuses expectedVersion', async () => {
    const options = { priority: 'high', aggregateId: 'a', expectedVersion: 0 } as const
    await expect(publisher.publish(Job, { id: 'a' }, options)).rejects.toThrow('expectedVersion must be left out')
  })

  it('wakes a poller once, whatever the streams, and only if none was woken for them', async () => {
    let woken = 0
    const wake = { group: 'work', windowMs: 60_000, wake: async () => void woken++, onError() {} }
    const waking = createPublisher({ stream: prioritized('wakes', ['high', 'low']), redis, wake })
    const publish = () =>
      waking.publishMany([
        [Job, { id: 'a' }, { priority: 'low' }],
        [Job, { id: 'b' }, { priority: 'high' }],
      ])

    await publish()
    await publish()

    expect(woken).toBe(1)
  })

  it('what is not sent any more stands beside what is written', async () => {
    const sent: string[] = []
    const failing = new Error('the second stream is gone')
    const append = (stream: string, places: readonly number[]) => {
      sent.push(stream)
      if (stream === 'b') return Promise.reject(failing)
      return Promise.resolve({ answers: places.map((place) => `${stream}${place}`), raised: [true] })
    }

    const appended = await jobs.appendEach(['a', 'b', 'a', 'c'], append)

    expect(appended).toEqual({ answers: ['a0', failing, 'a2', failing], raised: [true] })
    expect(sent).toEqual(['a', 'b'])
    await expect(jobs.appendEach(['b', 'a'], append)).rejects.toBe(failing)
  })
})

/** A member's pool: jobs that wait, each of which runs until somebody ends it. */
function aPool(places: SharedPlaces, weight: number, log: string[], name: string) {
  const member = places.join(weight)
  let queued = 0
  const pool = {
    get wantsPlace() {
      return queued > 0
    },
    get open() {
      return queued
    },
    fill() {
      while (queued > 0 && member.mayStart) {
        queued--
        member.started()
        log.push(name)
      }
    },
    notify() {},
    add(count: number) {
      queued += count
      pool.fill()
    },
    member,
  }
  member.taker = pool
  return pool
}

describe('the places of a set', () => {
  /** Ends what runs, one after the other, as often as asked. */
  async function endOne(pools: ReturnType<typeof aPool>[], log: string[], ended: { at: number }) {
    const name = log[ended.at++] as string
    pools.find((_pool, n) => ['h', 'n', 'l'][n] === name)?.member.left()
    await Promise.resolve()
  }

  it('go by weight while all want them: 4 to 2 to 1', async () => {
    const log: string[] = []
    const places = new SharedPlaces(1)
    const pools = [4, 2, 1].map((weight, n) => aPool(places, weight, log, 'hnl'[n] as string))
    for (const pool of pools) pool.add(100)
    const ended = { at: 0 }
    while (log.length < 71) await endOne(pools, log, ended)

    const counts = (name: string) => log.slice(1, 71).filter((one) => one === name).length
    expect([counts('h'), counts('n'), counts('l')]).toEqual([40, 20, 10])
  })

  it('the next one goes to a higher member that comes back, whatever the lower ones wait', async () => {
    const log: string[] = []
    const places = new SharedPlaces(2)
    const pools = [4, 2, 1].map((weight, n) => aPool(places, weight, log, 'hnl'[n] as string))
    pools[2]?.add(100)
    const ended = { at: 0 }
    while (log.length < 20) await endOne(pools, log, ended)
    pools[0]?.add(1)
    await endOne(pools, log, ended)

    expect(log.slice(0, 20).join('')).toBe('l'.repeat(20))
    expect(log[20]).toBe('h')
  })

  it('a lower member gets its share under a steady load, and saves nothing up', async () => {
    const log: string[] = []
    const places = new SharedPlaces(1)
    const pools = [4, 2, 1].map((weight, n) => aPool(places, weight, log, 'hnl'[n] as string))
    pools[0]?.add(1_000)
    const ended = { at: 0 }
    while (log.length < 500) await endOne(pools, log, ended)
    pools[2]?.add(1_000)
    while (log.length < 550) await endOne(pools, log, ended)

    const later = log.slice(500)
    expect(later.filter((one) => one === 'l')).toHaveLength(10)
    expect(later.join('')).not.toContain('ll')
  })

  it('what is reserved nobody else takes, and what is not used goes on', async () => {
    const log: string[] = []
    const places = new SharedPlaces(2)
    const pools = [4, 2, 1].map((weight, n) => aPool(places, weight, log, 'hnl'[n] as string))
    const [high, , low] = pools as [ReturnType<typeof aPool>, unknown, ReturnType<typeof aPool>]

    expect(await low.member.reserve(5)).toBe(2)
    high.add(2)
    expect(log).toEqual([])
    low.add(1)
    low.member.unreserve()
    await Promise.resolve()

    expect(log).toEqual(['l', 'h'])
  })

  it('a place that a member wants no more goes to the next at once', async () => {
    const log: string[] = []
    const places = new SharedPlaces(1)
    const pools = [4, 1].map((weight, n) => aPool(places, weight, log, 'hl'[n] as string))
    const [high, low] = pools as [ReturnType<typeof aPool>, ReturnType<typeof aPool>]
    high.add(2)
    let wants = true
    // its turn is before that of high, and once it is asked, all that it had is held back
    low.member.taker = {
      get wantsPlace() {
        return wants
      },
      open: 1,
      fill: () => {
        wants = false
      },
      notify: () => {},
    }
    high.member.left()
    await Promise.resolve()

    expect(log).toEqual(['h', 'h'])
  })

  it('nothing starts beside one that runs alone', async () => {
    const log: string[] = []
    const places = new SharedPlaces(3)
    const pools = [4, 2, 1].map((weight, n) => aPool(places, weight, log, 'hnl'[n] as string))
    const [high, , low] = pools as [ReturnType<typeof aPool>, unknown, ReturnType<typeof aPool>]
    high.add(1)
    let isAlone = false
    const alone = low.member.alone().then(() => {
      isAlone = true
    })
    high.add(1)
    await Promise.resolve()
    expect([log, isAlone]).toEqual([['h'], false])
    high.member.left()
    await alone
    low.add(1)
    expect(log).toEqual(['h', 'l'])
    low.member.left()
    low.member.endAlone()
    await Promise.resolve()

    expect(log).toEqual(['h', 'l', 'h'])
  })

  it('a batch is shared by weight where another has work, else it is whole', () => {
    const places = new SharedPlaces(1)
    const pools = [4, 2, 1].map((weight, n) => aPool(places, weight, [], 'hnl'[n] as string))
    const [high, , low] = pools as [ReturnType<typeof aPool>, unknown, ReturnType<typeof aPool>]

    expect(low.member.shareOf(70)).toBe(70)
    high.add(5)

    expect(low.member.shareOf(70)).toBe(10)
    expect(low.member.shareOf(1)).toBe(1)
    expect(high.member.shareOf(70)).toBe(70)
  })
})
