import type { DeadLetterNotice, Observed, Observer } from 'millrace'
import { createPublisher, defineConsumer, NonRetryableError, onBatch, poll } from 'millrace'
import { createVirtualClock } from 'millrace/testing'
import { describe, expect, it, vi } from 'vitest'
import { claimOnce } from '../support/claim-once.ts'
import { billing, DLQ, OrderPaid, startScenario } from '../support/scenario.ts'

const NAMES = [
  'invocationStarted',
  'invocationEnded',
  'entriesRead',
  'entriesClaimed',
  'handlerEnded',
  'acked',
  'deadLettered',
  'deadLetterNoticeFailed',
  'published',
] as const satisfies readonly (keyof Observed)[]

/** Notes all events, in order. */
function anObserver() {
  const told: { name: keyof Observed; observed: never }[] = []
  const listeners = NAMES.map((name) => [name, (observed: never) => void told.push({ name, observed })])
  const of = <Name extends keyof Observed>(name: Name) =>
    told.filter((one) => one.name === name).map(({ observed }) => observed as Observed[Name])
  return { observer: Object.fromEntries(listeners) as Observer, told, of }
}

const failing = (orderId: string) => async (event: { payload: { orderId: string } }) => {
  if (event.payload.orderId === orderId) throw new NonRetryableError('card declined')
}

describe('observe', () => {
  it('reports a poll from its start to its end, in order, with one invocation object', async () => {
    const { redis, publish } = await startScenario()
    const [a, b] = await publish('a', 'b')
    const { observer, told, of } = anObserver()
    const context = { awsRequestId: 'request-1' }

    const report = await poll(billing(failing('b') as never), { redis, context, observe: observer })

    const names = told.map(({ name }) => name)
    expect(names.slice(0, 4)).toEqual(['invocationStarted', 'entriesRead', 'handlerEnded', 'handlerEnded'])
    expect(names.slice(4, -1).sort()).toEqual(['acked', 'deadLettered'])
    expect(names.at(-1)).toBe('invocationEnded')
    const [invocation] = of('invocationStarted')
    expect(invocation).toEqual({ action: 'poll', consumers: [{ stream: 'orders', group: 'billing' }], context })
    expect(of('entriesRead')).toMatchObject([{ entryIds: [a, b], stream: 'orders', group: 'billing' }])
    expect(of('handlerEnded').map(({ call, outcomes }) => [call.deliveries[0]?.entryId, outcomes[0]?.kind])).toEqual([
      [a, 'ack'],
      [b, 'dead-letter'],
    ])
    expect(of('acked')).toMatchObject([{ entries: [{ entryId: a, eventType: 'OrderPaid' }] }])
    expect(of('deadLettered')).toMatchObject([
      {
        notice: {
          stream: 'orders',
          group: 'billing',
          deadLetters: DLQ,
          entryId: b,
          deliveryCount: 1,
          reason: 'non-retryable',
          eventType: 'OrderPaid',
          error: { name: 'NonRetryableError', message: 'card declined' },
        },
      },
    ])
    expect(of('invocationEnded')).toEqual([{ invocation, report, error: undefined }])
    const all = told.map(({ observed }) => observed as { invocation?: object; call?: { invocation: object } })
    expect(all.slice(1).every((one) => (one.invocation ?? one.call?.invocation) === invocation)).toBe(true)
  })

  it('reports with a claim whose the entries were', async () => {
    const { redis, publish, age } = await startScenario()
    const [a] = await publish('a')
    await poll(
      billing(() => Promise.reject(new Error('down'))),
      { redis },
    )
    await age(90_000)
    const { observer, of } = anObserver()

    await claimOnce(
      billing(() => {}),
      { redis, observe: [observer] },
    )

    const [claimed] = of('entriesClaimed')
    expect(claimed?.entries).toMatchObject([{ entryId: a, owner: 'parked', deliveryCount: 1 }])
    expect(claimed?.entries[0]?.idleMs).toBeGreaterThanOrEqual(90_000)
    expect(of('handlerEnded')[0]?.call).toMatchObject({ isBatch: false, deliveries: [{ deliveryCount: 2 }] })
  })

  it('reports a batch as one call with all its deliveries and outcomes', async () => {
    const { redis, publish } = await startScenario()
    const [a, b] = await publish('a', 'b')
    const { observer, of } = anObserver()
    const routes = [onBatch(OrderPaid, () => ({ batchItemFailures: [{ itemIdentifier: b as string }] }))]

    await poll(defineConsumer({ stream: 'orders', group: 'billing', routes }), { redis, observe: observer })

    expect(of('handlerEnded')).toMatchObject([
      {
        call: { isBatch: true, eventType: 'OrderPaid', deliveries: [{ entryId: a }, { entryId: b }] },
        outcomes: [{ kind: 'ack' }, { kind: 'retry', error: { code: 'ERR_BATCH_ITEM_FAILED' } }],
      },
    ])
  })

  it('reports the end of an invocation that failed, and of one that was too short', async () => {
    const { redis, raw } = await startScenario()
    await raw.set('orders', 'not a stream')
    const { observer, of } = anObserver()
    const consumer = billing(() => {})

    await expect(poll(consumer, { redis, observe: observer })).rejects.toThrow()
    await expect(poll(consumer, { redis, observe: observer, remainingMs: 100 })).rejects.toThrow()

    expect(of('invocationEnded').map(({ error }) => (error as { code?: string })?.code)).toEqual([
      'ERR_INVOCATION_FAILED',
      'ERR_INVOCATION_TOO_SHORT',
    ])
  })

  it('reports what was published and what was not, with its size', async () => {
    const { redis, raw } = await startScenario()
    const { observer, of } = anObserver()
    const publisher = createPublisher({ stream: 'orders', redis, observe: observer })

    const { entryId, eventId } = await publisher.publish(OrderPaid, { orderId: 'a' })
    const refused = publisher.publish(OrderPaid, { orderId: 1 as never })
    await expect(refused).rejects.toThrow()
    await raw.set('orders', 'not a stream')
    await expect(publisher.publish(OrderPaid, { orderId: 'b' })).rejects.toThrow()

    expect(of('published')).toMatchObject([
      { call: { stream: 'orders', events: [{ type: 'OrderPaid', eventId }] }, entryIds: [entryId], error: undefined },
      { entryIds: [undefined], bytes: [], error: { code: 'ERR_PAYLOAD_INVALID' } },
      { entryIds: [undefined], error: { code: 'ERR_PUBLISH_FAILED' } },
    ])
    expect(of('published')[0]?.bytes[0]).toBeGreaterThan(50)
  })

  it('puts scopes around handlers and publishers, the first observer outermost, and runs what is within once', async () => {
    const { redis } = await startScenario()
    const order: string[] = []
    const scoping = (name: string): Observer => ({
      within: {
        handler: (_call, run) => {
          order.push(`${name} in`)
          try {
            return run()
          } finally {
            order.push(`${name} out`)
          }
        },
        publish: (call, run) => {
          call.traceparent ??= '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
          return run()
        },
      },
    })
    const twice: Observer = {
      within: {
        handler: (_call, run) => {
          run()
          return run()
        },
      },
    }
    const observe = [scoping('outer'), scoping('inner'), twice]
    const seen: unknown[] = []
    await createPublisher({ stream: 'orders', redis, observe }).publish(OrderPaid, { orderId: 'a' })

    const report = await poll(
      billing((event) => {
        order.push('handler')
        seen.push((event as { traceparent?: string }).traceparent)
      }),
      { redis, observe },
    )

    expect(order).toEqual(['outer in', 'inner in', 'handler', 'inner out', 'outer out'])
    expect(seen).toEqual(['00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'])
    expect(report.acked).toBe(1)
  })

  it('lets what the publisher was given win over an observer', async () => {
    const { redis, raw } = await startScenario()
    const own = '00-11111111111111111111111111111111-2222222222222222-01'
    const observe: Observer = {
      within: {
        publish: (call, run) => {
          call.traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
          return run()
        },
      },
    }
    const publisher = createPublisher({ stream: 'orders', redis, observe })
    await publisher.publish(OrderPaid, { orderId: 'a' }, { traceparent: own })

    expect((await raw.xrange('orders', '-', '+'))[0]?.[1]).toContain(own)
  })

  it('takes what an observer throws for a warning, and goes on', async () => {
    const { redis, publish } = await startScenario()
    await publish('a')
    const warning = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const broken = Object.fromEntries(
      NAMES.map((name) => [
        name,
        () => {
          throw new Error('no disk')
        },
      ]),
    ) as Observer
    const scope = () => {
      throw new Error('no scope')
    }
    const { observer, told } = anObserver()

    const report = await poll(
      billing(() => {}),
      { redis, observe: [{ ...broken, within: { handler: scope } }, observer] },
    )

    expect(report).toMatchObject({ read: 1, acked: 1, failed: 0 })
    expect(told.map(({ name }) => name)).toContain('acked')
    expect(warning.mock.calls.map(([text]) => text)).toContain('An observer failed: no scope')
    warning.mockRestore()
  })

  it('takes a promise of a listener that rejects for a warning, too', async () => {
    const { redis, publish } = await startScenario()
    await publish('a')
    const warning = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const reject = () => Promise.reject(new Error('no disk'))
    const observe: Observer = { acked: reject as () => void }

    await poll(
      billing(() => {}),
      { redis, observe },
    )

    expect(warning.mock.calls).toEqual([['An observer failed: no disk', 'MillraceWarning']])
    warning.mockRestore()
  })

  it('refuses what is no observer', async () => {
    const { redis } = await startScenario()
    const consumer = billing(() => {})

    await expect(poll(consumer, { redis, observe: 'me' as never })).rejects.toThrow(
      'Cannot poll: observe must be an observer, or an array of them',
    )
  })
})

describe('onDeadLetter', () => {
  it('is notified of every letter once it is written, the poller’s and the claimer’s', async () => {
    const { redis, publish, raw, age } = await startScenario()
    const notices: [DeadLetterNotice, number][] = []
    const consumer = billing(
      (async (event: { payload: { orderId: string } }) => {
        if (event.payload.orderId === 'declined') throw new NonRetryableError('card declined')
        throw new Error('down')
      }) as never,
      { maxDeliveries: 2, onDeadLetter: async (notice) => void notices.push([notice, await raw.xlen(DLQ)]) },
    )
    await publish('declined', 'down')

    await poll(consumer, { redis })
    await age(60_000)
    await claimOnce(consumer, { redis })

    expect(
      notices.map(([{ reason, deliveryCount, error }, letters]) => [reason, deliveryCount, error?.message, letters]),
    ).toEqual([
      ['non-retryable', 1, 'card declined', 1],
      ['max-deliveries', 2, 'down', 2],
    ])
  })

  it('that fails stops no move and no invocation', async () => {
    const { redis, publish, pending, raw } = await startScenario()
    const warning = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const { observer, of } = anObserver()
    await publish('a')
    const consumer = billing(() => Promise.reject(new NonRetryableError('no')), {
      onDeadLetter: () => {
        throw new Error('no mail')
      },
    })

    const report = await poll(consumer, { redis, observe: observer })

    expect(report).toMatchObject({ deadLettered: 1 })
    expect([await pending(), await raw.xlen(DLQ)]).toEqual([[], 1])
    expect(of('deadLetterNoticeFailed')).toMatchObject([
      { notice: { reason: 'non-retryable' }, error: { message: 'no mail' } },
    ])
    warning.mockRestore()
  })

  it.each([
    ['quotes what the handler said', (said?: string) => new Error(`no mail: ${said}`), 'Error'],
    [
      'throws what cannot be read',
      () =>
        Object.defineProperty({}, 'message', {
          get() {
            throw new Error('never')
          },
        }),
      'object',
    ],
  ])('that %s is a warning without it', async (_what, errorOf, name) => {
    const { redis, publish } = await startScenario()
    const warning = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const [id] = await publish('a')
    const consumer = billing(() => Promise.reject(new NonRetryableError('card 4711 declined')), {
      onDeadLetter: ({ error }) => Promise.reject(errorOf(error?.message)),
    })

    expect(await poll(consumer, { redis })).toMatchObject({ deadLettered: 1 })
    expect(warning.mock.calls).toEqual([[`onDeadLetter failed for entry ${id}: ${name}`, 'MillraceWarning']])
    warning.mockRestore()
  })

  it('that never ends does not outlast the run: its signal is aborted', async () => {
    const { redis, publish } = await startScenario()
    const clock = createVirtualClock()
    await publish('a')
    let signal: AbortSignal | undefined
    const consumer = billing(() => Promise.reject(new NonRetryableError('no')), {
      onDeadLetter: (_notice, context) => {
        signal = context.signal
        return new Promise(() => {})
      },
    })

    let isOver = false
    const polling = poll(consumer, { redis, clock, remainingMs: 20_000 }).finally(() => {
      isOver = true
    })
    while (!isOver) {
      await clock.advance(1_000)
      await new Promise((resolve) => setTimeout(resolve, 1))
    }

    expect(await polling).toMatchObject({ deadLettered: 1 })
    expect(signal?.aborted).toBe(true)
  })

  it('is not notified of a letter that the server refused', async () => {
    const { redis, publish, raw } = await startScenario()
    await raw.set(DLQ, 'not a stream')
    await publish('a')
    const notices: DeadLetterNotice[] = []
    const consumer = billing(() => Promise.reject(new NonRetryableError('no')), {
      onDeadLetter: (notice) => void notices.push(notice),
    })

    await expect(poll(consumer, { redis })).rejects.toThrow('WRONGTYPE')
    expect(notices).toEqual([])
  })
})
