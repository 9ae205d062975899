import * as millrace from 'millrace'
import { connect } from 'millrace/connect'
import * as ioredis from 'millrace/ioredis'
import * as janitor from 'millrace/janitor'
import * as lambda from 'millrace/lambda'
import * as opentelemetry from 'millrace/opentelemetry'
import * as operate from 'millrace/operate'
import * as powertools from 'millrace/powertools'
import * as s3 from 'millrace/s3'
import * as testing from 'millrace/testing'
import * as upstash from 'millrace/upstash'
import { expect, test } from 'vitest'
import * as z from 'zod/mini'

const Paid = millrace.defineEvent('Paid', { payload: z.any() })
const consumer = millrace.defineConsumer({ stream: 's', group: 'g', routes: [millrace.on(Paid, () => {})] })

/** In place of options: by itself, and behind what a function takes first. */
const WRONG = [undefined, null, 'https://x', ['x'], [], 5, 5n, true, Symbol('x'), () => {}]
const ARGUMENTS: readonly (readonly unknown[])[] = [
  [],
  ...WRONG.flatMap((wrong) => [
    [wrong],
    ['x', wrong],
    [consumer, wrong],
    [Paid, wrong],
    [Paid, () => {}, wrong],
    [(): string => 'x', wrong],
  ]),
]

/** What V8 says where a value was used unseen, and what it says of members that only strings and arrays have. */
const RAW =
  /^Cannot (destructure|read propert|use 'in'|convert|mix)|is not (a function|iterable|an object)|not a constructor|serialize a BigInt|unknown option "(0|length)"|option 0 is/

const MODULES = { millrace, ioredis, janitor, lambda, opentelemetry, operate, powertools, s3, testing, upstash }
const FUNCTIONS = [
  ['connect', connect as unknown] as const,
  ...Object.entries(MODULES).flatMap(([path, exported]) =>
    Object.entries(exported).map(([name, value]) => [`${path}: ${name}`, value as unknown] as const),
  ),
].filter(([, value]) => typeof value === 'function' && !String(value).startsWith('class '))

test.each(FUNCTIONS)('%s says what is wrong with its arguments', async (_name, call) => {
  const raw: string[] = []
  for (const args of ARGUMENTS) {
    try {
      await (call as (...args: readonly unknown[]) => unknown)(...args)
    } catch (error) {
      const { message } = error as Error
      if (RAW.test(message)) raw.push(message)
    }
  }

  expect(raw).toEqual([])
})

type Names<Options> = Record<keyof Required<Options>, 0>
const surroundings = { redis: 0, observe: 0, clock: 0 } as const
const run = { ...surroundings, remainingMs: 0, signal: 0, context: 0 } as const
const target = { mode: 0, maxRunMs: 0, lingerMs: 0 } as const

test.each<[name: string, call: (options: never) => unknown, known: object]>([
  [
    'createPoller()',
    (options) => millrace.createPoller(consumer, options),
    { ...surroundings, ...target, scaleOut: 0, wake: 0 } satisfies Names<millrace.PollerOptions>,
  ],
  [
    'createClaimer()',
    (options) => millrace.createClaimer(consumer, options),
    { ...surroundings, lingerMs: 0, wake: 0 } satisfies Names<millrace.ClaimerOptions>,
  ],
  [
    'poll()',
    (options) => millrace.poll(consumer, options),
    { ...run, ...target } satisfies Names<millrace.PollOptions>,
  ],
  [
    'claim()',
    (options) => millrace.claim(consumer, options),
    { ...run, lingerMs: 0 } satisfies Names<millrace.ClaimOptions>,
  ],
  [
    'connectUpstash()',
    (options) => upstash.connectUpstash(options),
    { url: 0, token: 0, commandTimeoutMs: 0 } satisfies Names<upstash.UpstashOptions>,
  ],
])('%s names all options that it knows', async (_name, call, known) => {
  const message = await (async () => call({ foo: 1 } as never))().catch((error: Error) => error.message)

  const [, listed = ''] = /unknown option "foo"; known are (.*)$/.exec(String(message)) ?? []
  expect(listed.split(', ').sort()).toEqual(Object.keys(known).sort())
})
