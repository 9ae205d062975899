import { describe, expect, test } from 'vitest'
import type { RedisStreamEvent } from '../../../src/deploy/event-source.ts'
import { readServiceConsumers } from '../../../src/deploy/serverless/service-consumers.ts'

const BILLING: RedisStreamEvent = { stream: 'orders', group: 'billing', claimer: 'claimer' }
const SEARCH: RedisStreamEvent = { ...BILLING, group: 'search' }

/** A service of these pollers, and of a function `claimer` and one `other`. */
function aService(pollers: Readonly<Record<string, readonly object[]>>) {
  const functions = Object.entries(pollers).map(([name, events]) => [name, { events }] as const)
  return { ...Object.fromEntries(functions), claimer: { events: [] }, other: {} }
}

describe('readServiceConsumers()', () => {
  test('finds every redisStream event, where it stands, among other events', () => {
    const events = [
      { sqs: 'arn:…' },
      { redisStream: { ...BILLING, pollers: 2 } },
      { redisStream: { ...SEARCH, pollers: 2 } },
    ]

    expect(readServiceConsumers(aService({ poller: events }))).toMatchObject([
      { path: 'functions.poller.events.1.redisStream', poller: 'poller', claimer: 'claimer', settings: { pollers: 2 } },
      { path: 'functions.poller.events.2.redisStream', poller: 'poller', settings: { group: 'search' } },
    ])
  })

  test('takes what is null as left out, as a variable without a value is', () => {
    const service = aService({ poller: [{ redisStream: { ...BILLING, schedule: null } }] })

    expect(readServiceConsumers(service)[0]?.settings.schedule).toBe('rate(1 minute)')
  })

  test('lets pollers share a claimer, and go their own ways where it is theirs', () => {
    const service = aService({
      poller: [{ redisStream: { ...BILLING, pollers: 4, parameters: { poller: '/one' } } }],
      second: [{ redisStream: { ...SEARCH, parameters: { poller: '/two' } } }],
    })

    expect(readServiceConsumers(service).map(({ poller }) => poller)).toEqual(['poller', 'second'])
  })

  test.each<[string, Record<string, object[]>, string]>([
    [
      'a claimer that is no function',
      { poller: [{ redisStream: { ...BILLING, claimer: 'clamer' } }] },
      'functions.poller.events.0.redisStream: claimer must name a function of this service, got "clamer"; there are poller, claimer, other',
    ],
    [
      'a claimer that polls',
      { poller: [{ redisStream: { ...BILLING, claimer: 'poller' } }] },
      'functions.poller.events.0.redisStream: claimer must name a function that polls nothing, got "poller", which has a redisStream event',
    ],
    [
      'a group that two functions poll',
      { poller: [{ redisStream: BILLING }], second: [{ redisStream: { ...BILLING, claimer: 'other' } }] },
      'functions.second.events.0.redisStream: group must be used once for a stream, got "billing" here and in ' +
        'functions.poller.events.0.redisStream',
    ],
    [
      'consumers of one poller that want other schedules',
      { poller: [{ redisStream: BILLING }, { redisStream: { ...SEARCH, schedule: 'rate(5 minutes)' } }] },
      'functions.poller.events.1.redisStream: schedule must be the same for all consumers of function "poller", got "rate(5 minutes)" ' +
        'here and "rate(1 minute)" in functions.poller.events.0.redisStream',
    ],
    [
      'consumers of one claimer that want other parameters',
      {
        poller: [{ redisStream: { ...BILLING, parameters: { claimer: '/one' } } }],
        second: [{ redisStream: SEARCH }],
      },
      'functions.second.events.0.redisStream: parameters.claimer must be the same for all consumers of function "claimer", got [] here ' +
        'and ["/one"] in functions.poller.events.0.redisStream',
    ],
    [
      'an option out of its range',
      { poller: [{ redisStream: { ...BILLING, batchSize: 0 } }] },
      'functions.poller.events.0.redisStream: batchSize must be >= 1, got 0',
    ],
  ])('refuses %s', (_case, pollers, message) => {
    expect(() => readServiceConsumers(aService(pollers))).toThrow(`Cannot use ${message}`)
  })
})
