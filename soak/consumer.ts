import type { Consumer, EventHandler, EventOf } from 'millrace'
import { defineConsumer, on, orderedBy, promoteDelays } from 'millrace'
import { NewerWork, perform, Work, waitOf } from './kinds.ts'
import type { Notebook } from './notes.ts'
import { GROUP, ORDERED, SETTINGS, STREAM } from './settings.ts'

/** A poison that blocks does so for longer than any invocation lasts, and yet not for ever if nobody is left to kill it. */
const BLOCK_MS = 60_000

/** @param isOlder Whether it knows the older version only. */
export function soakConsumer(handler: EventHandler<EventOf<typeof Work>>, isOlder = false): Consumer {
  return defineConsumer({
    stream: STREAM,
    group: GROUP,
    routes: [on(isOlder ? Work : NewerWork, handler)],
    delays: promoteDelays(),
    ...SETTINGS,
  })
}

/** The consumer of the group that keeps the order of keys. */
export function orderedConsumer(handler: EventHandler<EventOf<typeof Work>>): Consumer {
  return defineConsumer({
    stream: STREAM,
    group: ORDERED.group,
    routes: [on(NewerWork, handler)],
    ...ORDERED.settings,
    use: [orderedBy(({ aggregateId }) => aggregateId)],
  })
}

/** Notes each call before it acts, and each end before it returns. */
export function notingHandler(notebook: Notebook, invocation: () => number): EventHandler<EventOf<typeof Work>> {
  let calls = 0
  return async ({ payload }, context) => {
    const { entryId, deliveryCount, signal } = context
    const call = ++calls
    notebook.write({ note: 'started', call, invocation: invocation(), entryId, deliveryCount })
    try {
      await perform(payload, context, (how) => die(how, notebook))
    } catch (error) {
      notebook.write({ note: 'failed', call, waitMs: waitOf(error, deliveryCount), timedOut: signal.aborted })
      throw error
    }
    notebook.write({ note: 'succeeded', call })
  }
}

function die(how: string, notebook: Notebook): Promise<never> {
  notebook.write({ note: 'dying', how })
  if (how === 'exits') process.exit(3)
  if (how === 'blocks') {
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BLOCK_MS)
    process.exit(4)
  }
  process.nextTick(() => {
    throw new Error('a poison threw outside its handler')
  })
  return new Promise(() => {})
}
