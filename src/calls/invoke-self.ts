import { assertKnownOptions, assertNumber } from '../core/options.ts'
import { createHopEvent } from '../run/hop.ts'
import type { ScaleOut } from '../run/scale-out.ts'
import { invokeLater } from './invoke.ts'

/** When a poller calls further ones. */
export interface InvokeSelfOptions {
  /**
   * Entries that one poller is left to deal with, 1 or more: there are as many pollers as the entries that wait are times that many, up to the
   * consumer's `maxPollers`. Default 1,000.
   */
  readonly entriesPerPoller?: number
}

const DEFAULT_ENTRIES_PER_POLLER = 1_000

/**
 * Has a poller invoke its own function, asynchronously: as often as the backlog is worth while it runs, and once more when its time is up
 * before the backlog is. Redis 6.2 reports no lag, and then there is only the latter. The function's role needs `lambda:InvokeFunction` on the function itself; a chain of calls ends after eight.
 *
 * @throws {TypeError | RangeError} A bad option.
 */
export function invokeSelf(options: InvokeSelfOptions = {}): ScaleOut {
  const action = 'make invokeSelf'
  assertKnownOptions(action, options, ['entriesPerPoller'])
  const { entriesPerPoller = DEFAULT_ENTRIES_PER_POLLER } = options
  assertNumber(action, 'entriesPerPoller', entriesPerPoller, 1)
  return {
    entriesPerPoller,
    async call(hop, { invokedFunctionArn }, signal) {
      // the ARN has the alias that this poller was invoked by, so that a call stays with its version
      if (!invokedFunctionArn) throw new Error('the context names no function to invoke; invokeSelf works in Lambda')
      await invokeLater(invokedFunctionArn, createHopEvent(hop), signal)
    },
  }
}
