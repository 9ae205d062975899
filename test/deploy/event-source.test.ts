import { defineConsumer, defineEvent, on } from 'millrace'
import { describe, expect, test } from 'vitest'
import * as z from 'zod/mini'
import type { EventSourceOptions } from '../../src/deploy/event-source.ts'
import {
  encodeEnvironmentOverrides,
  redisStreamEventSchema,
  resolveEventSource,
} from '../../src/deploy/event-source.ts'
import { someSettings } from './settings.ts'

const ORDERS: EventSourceOptions = { stream: 'orders', group: 'billing' }
const TOPIC = 'arn:aws:sns:eu-central-1:123456789012:alarms'

/** What is wrong, and what is said of it. */
const REFUSED: readonly (readonly [options: object, message: string])[] = [
  [{ stream: '' }, 'stream must be a string that is not empty, got ""'],
  [{ stream: undefined }, 'stream must be a string that is not empty, got undefined'],
  [{ group: 7 }, 'group must be a string that is not empty, got number'],
  [
    { schedule: '1 minute' },
    'schedule must be rate(…) of minutes, hours or days, or cron(…) with six fields, got "1 minute"',
  ],
  [
    { schedule: 'rate(0 minutes)' },
    'schedule must be rate(…) of minutes, hours or days, or cron(…) with six fields, got "rate(0 minutes)"',
  ],
  [
    { schedule: 'cron(* * * * *)' },
    'schedule must be rate(…) of minutes, hours or days, or cron(…) with six fields, got "cron(* * * * *)"',
  ],
  [{ pollers: 0 }, 'pollers must be >= 1, got 0'],
  [{ pollers: 1.5 }, 'pollers must be a whole number, got 1.5'],
  [
    { pollers: 5 },
    'pollers must be <= maxPollers, got pollers 5 and maxPollers 4; set maxPollers here if there are to be more',
  ],
  [
    { pollers: 3, maxPollers: 2 },
    'pollers must be <= maxPollers, got pollers 3 and maxPollers 2; set maxPollers here if there are to be more',
  ],
  [{ enabled: 'yes' }, 'enabled must be true or false, got string'],
  [{ mode: 'tail' }, 'mode must be one of "once", "drain", "listen", got "tail"'],
  [{ maxRunMs: 900_001 }, 'maxRunMs must be <= 900000, got 900001'],
  [{ reservedConcurrency: { poller: 0 } }, 'reservedConcurrency.poller must be >= 1, got 0'],
  [
    { reservedConcurrency: { poller: 1 }, pollers: 2 },
    'reservedConcurrency.poller must be >= pollers, got reservedConcurrency.poller 1 and pollers 2',
  ],
  [{ reservedConcurrency: 5 }, 'reservedConcurrency must be an object, got number'],
  [
    { logRetentionInDays: 2 },
    'logRetentionInDays must be one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, ' +
      '3288, 3653, got 2',
  ],
  [
    { parameters: { poller: ['/a', 'b c'] } },
    'parameters.poller[1] must be the name of an SSM parameter, as in /shop/redis-url, got "b c"',
  ],
  [{ parameters: { publisher: '/a' } }, 'parameters: unknown option "publisher"; known are poller, claimer'],
  [
    { failedSchedules: 'queue' },
    'failedSchedules must be an ARN or a reference, as in { Fn::GetAtt: [<queue>, Arn] }, got "queue"',
  ],
  [
    { failedSchedules: { Reff: 'x' } },
    'failedSchedules must be text or a reference, as in { Fn::GetAtt: [<queue>, Arn] }',
  ],
  [{ filterPatterns: [] }, 'filterPatterns must be an array of 1 to 10 patterns, as in [{ type: ["OrderPaid"] }]'],
  [
    { filterPatterns: [{ body: { id: ['a'] } }] },
    'filterPatterns[0] must name members of an event, type, version, payload, eventId, aggregateType, aggregateId, tenantId, producer, ' +
      'occurredAt, attributes, got "body"; what its payload has is asked for as { payload: { body: […] } }',
  ],
  [{ alarms: { topic: 'topic' } }, 'alarms.topic must be an ARN or a reference, as in { Ref: … }, got "topic"'],
  [
    { targets: ['notify', 'no such name'] },
    `targets[1] must be a function's name, name:qualifier, an ARN or a reference, got "no such name"`,
  ],
  [{ statements: ['*'] }, 'statements[0] must be an object, got string'],
  [{ alarms: true }, 'alarms must be an object, got boolean'],
  [{ alarms: { oldestPendingMs: 10 } }, 'alarms.oldestPendingMs must be >= 1000, got 10'],
  [
    { schedule: 'rate(1 hour)', alarms: { noPollMs: 180_000 } },
    'alarms.noPollMs must be >= 10800000, three periods of the schedule rate(1 hour), got 180000',
  ],
  [
    { schedule: 'rate(2 days)', alarms: { noPollMs: 259_200_000 } },
    'alarms.noPollMs must be false where the schedule is slower than once a day, got schedule rate(2 days); nothing alarms of silence then',
  ],
  [
    { alarms: { lag: 10 } },
    'alarms: unknown option "lag"; known are topic, noPollMs, oldestPendingMs, maxLag, deadLettersPer5Minutes',
  ],
  [{ dashboard: 'no' }, 'dashboard must be true or false, got string'],
  [
    { stream: 'заказы' },
    'stream must be printable ASCII with a letter or a digit, as CloudWatch wants it, or alarms and dashboard must both be false, got "заказы"',
  ],
  [
    { group: 'a\nb', alarms: false },
    'group must be printable ASCII with a letter or a digit, as CloudWatch wants it, or alarms and dashboard must both be false, got "a\\nb"',
  ],
  [
    { group: '--', dashboard: false },
    'group must be printable ASCII with a letter or a digit, as CloudWatch wants it, or alarms and dashboard must both be false, got "--"',
  ],
  [
    { stream: 's'.repeat(60), group: 'c'.repeat(36) },
    'stream and group must have 95 characters or fewer together, since alarms are named after them, or alarms and dashboard must both be ' +
      'false, got 96',
  ],
  [
    { stream: 'a}b' },
    'Cannot name keys for stream "a}b": a name with "}" must carry a hash tag that is not empty, as in "{shop}:orders"; otherwise no ' +
      'other key can share its hash slot',
  ],
]

describe('resolveEventSource()', () => {
  test('needs a stream and a group, and fills in the rest', () => {
    expect(resolveEventSource('deploy', ORDERS)).toEqual({
      stream: 'orders',
      group: 'billing',
      schedule: 'rate(1 minute)',
      pollers: 1,
      enabled: true,
      overrides: {},
      reservedConcurrency: {},
      logRetentionInDays: 30,
      parameters: { poller: [], claimer: [] },
      targets: [],
      statements: [],
      failedSchedules: undefined,
      alarms: {
        topic: undefined,
        noPollMs: 180_000,
        tickMs: 60_000,
        oldestPendingMs: 900_000,
        maxLag: 10_000,
        deadLettersPer5Minutes: 0,
      },
      dashboard: true,
      cacheClusterId: undefined,
    })
  })

  test('takes one or a list, references where there are ARNs, and alarms that are switched off', () => {
    const statement = { Effect: 'Allow', Action: 's3:GetObject', Resource: '*' } as const
    const settings = someSettings({
      parameters: { poller: '/shop/redis-url', claimer: ['redis-url', '/shop/other'] },
      targets: { 'Fn::ImportValue': 'notify' },
      statements: statement,
      failedSchedules: { 'Fn::GetAtt': ['Queue', 'Arn'] },
      alarms: false,
    })

    expect(settings).toMatchObject({
      parameters: { poller: ['/shop/redis-url'], claimer: ['redis-url', '/shop/other'] },
      targets: [{ 'Fn::ImportValue': 'notify' }],
      statements: [statement],
      failedSchedules: { 'Fn::GetAtt': ['Queue', 'Arn'] },
      alarms: false,
    })
  })

  test.each([TOPIC, { Ref: 'Alarms' }, `\${Token[TOKEN.12]}`])('notifies topic %j', (topic) => {
    expect(someSettings({ alarms: { topic, maxLag: 0 } }).alarms).toEqual({
      topic,
      noPollMs: 180_000,
      tickMs: 60_000,
      oldestPendingMs: 900_000,
      maxLag: 0,
      deadLettersPer5Minutes: 0,
    })
  })

  test.each(['rate(1 minute)', 'rate(15 minutes)', 'rate(2 hours)', 'cron(0/5 8-17 ? * MON-FRI *)'])(
    'takes the schedule %s',
    (schedule) => {
      expect(someSettings({ schedule, alarms: { noPollMs: 259_200_000 } })).toMatchObject({ schedule })
    },
  )

  test.each(REFUSED)('refuses %j', (options, message) => {
    const resolve = () => resolveEventSource('use the event', { ...ORDERS, ...options })

    expect(resolve).toThrow(`Cannot use the event: ${message}`)
  })

  test('takes patterns that the environment has room for', () => {
    const patterns = (length: number) => ({ filterPatterns: [{ type: ['x'.repeat(length - 15)] }] })

    expect(someSettings(patterns(2_048)).overrides).toEqual(patterns(2_048))
    expect(() => someSettings(patterns(2_049))).toThrow(
      'filterPatterns must have 2048 characters or fewer as JSON, since AWS takes 4 KB of environment, got 2049; give longer ones to ' +
        'filterPatterns() in the code',
    )
  })

  test('takes every name where CloudWatch has none of it', () => {
    expect(someSettings({ stream: 'заказы', group: 'c'.repeat(300), alarms: false, dashboard: false })).toMatchObject({
      stream: 'заказы',
    })
  })

  test('refuses options that it does not know', () => {
    expect(() => resolveEventSource('use the event', { ...ORDERS, batchsize: 5 } as EventSourceOptions)).toThrow(
      /^Cannot use the event: unknown option "batchsize"; known are stream, group, schedule, pollers, /,
    )
  })
})

describe('what overrides the code', () => {
  const routes = [on(defineEvent('Event', { payload: z.object({}) }), () => {})]
  const define = (settings: object) => defineConsumer({ stream: 'orders', group: 'billing', routes, ...settings })

  test.each(['batchSize', 'concurrency', 'maxPollers'] as const)(
    'has the bounds that defineConsumer has: %s',
    (name) => {
      const { minimum, maximum } =
        (redisStreamEventSchema.properties as Record<string, Record<string, number>>)[name] ?? {}

      for (const bound of [minimum, maximum] as number[]) {
        expect(someSettings({ [name]: bound }).overrides).toEqual({ [name]: bound })
        expect(define({ [name]: bound }).settings[name]).toBe(bound)
      }
      expect(() => define({ [name]: (maximum as number) + 1 })).toThrow(`${name} must be <= ${maximum}`)
      expect(() => someSettings({ [name]: (maximum as number) + 1 })).toThrow(`${name} must be <= ${maximum}`)
    },
  )

  test('travels as JSON, an element a consumer that overrides something', () => {
    const consumers = [
      someSettings({ batchSize: 10, mode: 'once' }),
      someSettings({ group: 'search' }),
      someSettings({ group: 'audit', concurrency: 1, maxRunMs: 5_000, maxPollers: 8 }),
      someSettings({ group: 'mail', filterPatterns: [{ type: ['OrderPaid'] }] }),
    ]

    expect(JSON.parse(encodeEnvironmentOverrides(consumers) ?? '')).toEqual([
      { stream: 'orders', group: 'billing', batchSize: 10, mode: 'once' },
      { stream: 'orders', group: 'audit', concurrency: 1, maxRunMs: 5_000, maxPollers: 8 },
      { stream: 'orders', group: 'mail', filterPatterns: [{ type: ['OrderPaid'] }] },
    ])
  })

  test('is nothing where nothing is overridden', () => {
    expect(encodeEnvironmentOverrides([someSettings({ schedule: 'rate(5 minutes)' })])).toBeUndefined()
  })
})
