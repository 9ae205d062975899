import type { Route } from '../../consumer.ts'
import type { ConsumerSettings } from '../../consumer-settings.ts'
import { check } from '../check.ts'
import type { Verdict } from '../finding.ts'
import { error, info, unknown, warning } from '../finding.ts'
import { quoted } from '../text.ts'

/** What a handler that is another function says of it. */
interface RemoteHandler {
  readonly functionName?: string
  /** That function's own timeout, if it is known. */
  readonly timeoutMs?: number
}

/** The function, its handlers, the functions that they invoke, and the claimer must agree on how long anything takes. */
export const timeouts = check({
  check: 'timeouts',
  scope: 'group',
  needs: [],
  look(_facts, { consumer, functionTimeoutMs }) {
    if (!consumer) return []
    const { settings, routes } = consumer
    return [
      ...ofFunction(settings, functionTimeoutMs),
      ...ofRenewal(settings),
      ...[...routes.values()].flatMap((route) => ofRemote(route, settings)),
    ]
  },
})

function ofFunction({ handlerTimeoutMs, reserveMs }: ConsumerSettings, functionTimeoutMs: number | undefined) {
  const needed = handlerTimeoutMs + reserveMs
  if (functionTimeoutMs === undefined || functionTimeoutMs >= needed) return []
  return [
    error(
      `The function's timeout, ${functionTimeoutMs} ms, is below handlerTimeoutMs + reserveMs, ${handlerTimeoutMs} + ${reserveMs} ms: nothing runs`,
      `set the function's timeout to ${Math.ceil(needed / 1_000)} s or more, or handlerTimeoutMs to at most ${Math.max(0, functionTimeoutMs - reserveMs)}`,
    ),
  ]
}

function ofRenewal({ renewLeases, minIdleMs, handlerTimeoutMs }: ConsumerSettings): Verdict[] {
  if (!renewLeases || minIdleMs >= handlerTimeoutMs) return []
  return [
    info(
      `Handlers may take handlerTimeoutMs, ${handlerTimeoutMs} ms, and are claimed after minIdleMs, ${minIdleMs} ms, unless renewed`,
      `set minIdleMs to ${handlerTimeoutMs + 5_000} or more where a handler may block the event loop: it then cannot be renewed, and runs twice`,
    ),
  ]
}

function ofRemote({ event, handler }: Route, { handlerTimeoutMs, minIdleMs }: ConsumerSettings): Verdict[] {
  const { functionName, timeoutMs } = handler as RemoteHandler
  if (functionName === undefined) return []
  const name = `${quoted(functionName)}, which handles ${quoted(event.type)},`
  if (timeoutMs === undefined)
    return [
      unknown(
        `The timeout of function ${name} was not given: it must not outlast handlerTimeoutMs, ${handlerTimeoutMs} ms`,
        `compare it with aws lambda get-function-configuration --function-name ${functionName}, and give it as timeoutMs of lambdaFunction`,
      ),
    ]
  if (timeoutMs <= handlerTimeoutMs) return []
  return [
    warning(
      `Function ${name} may run for ${timeoutMs} ms and is waited for ${handlerTimeoutMs} ms (handlerTimeoutMs): what it still does then overlaps ` +
        `with the retry${timeoutMs > minIdleMs ? `, also past minIdleMs, ${minIdleMs} ms` : ''}`,
      `set handlerTimeoutMs to ${timeoutMs} and minIdleMs to ${Math.max(minIdleMs, timeoutMs + 5_000)} or more, or the function's timeout to at most ` +
        `${Math.max(1, Math.floor(handlerTimeoutMs / 1_000))} s`,
    ),
  ]
}
