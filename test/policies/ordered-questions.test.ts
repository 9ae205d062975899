import { expect, it } from 'vitest'
import { RunOrder } from '../../dist/policies/order/run-order.js'

/** A run that is asked about what it read, and takes what is due before it hears. */
it('a key is found in its lane, though first members are taken meanwhile', () => {
  const inside = {
    parts: {
      action: 'poll',
      slot: { consumerName: 'poller-0' },
      report: { limited() {} },
    },
  }
  const group = { mayHaveLanes: true, listener: undefined, laneQuestion: (_name: string, asked: unknown) => asked }
  const order = new RunOrder(inside as never, group as never, ({ aggregateId }) => aggregateId, {
    afterBatchItemFailure: 'key',
    waitsForLetters: false,
  })
  const job = (id: string, aggregateId: string, isTaken: boolean) =>
    ({
      id,
      entryId: id,
      isTaken,
      delivery: { isTaken },
      run: { settler: {} },
      prepared: { decoded: { aggregateId, payload: {} } },
    }) as never
  const [read, taken] = [[job('2-0', 'b', false)], [job('1-0', 'b', true)]]
  order.register(read)
  order.register(taken)

  const asked = order.questions(read)
  expect([asked.length, order.questions(taken).length]).toEqual([1, 0])

  expect(order.admit(read, [[1, 1]])).toEqual([{ action: 'park', until: '=' }])
  expect(order.admit(taken, [])[0]).toBe(undefined)
})
