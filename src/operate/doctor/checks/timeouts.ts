import type { ConsumerSettings } from '../../../define/consumer-settings.ts'
import type { BoundRoute, RouteBounds } from '../../../define/route-settings.ts'
import { quotedValue } from '../../../errors.ts'
import { defineCheck } from '../check.ts'
import type { CheckResult } from '../finding.ts'
import { errorResult, infoResult, unknownResult, warningResult } from '../finding.ts'

/** What `lambdaFunction` makes says of itself. */
interface RemoteHandler {
  /** How long it waits for an answer; `undefined`: as long as its handler may take. */
  readonly timeoutMs: number | undefined
}

/** The function, its handlers, the functions that they invoke, and the claimer must agree on how long anything takes. */
export const timeoutsCheck = defineCheck({
  check: 'timeouts',
  scope: 'group',
  needs: [],
  look(_facts, { consumer, functionTimeoutMs, targetTimeoutsMs }) {
    if (!consumer) return []
    const { settings, routes, routeBounds } = consumer
    return [
      ...ofFunction(settings, routeBounds, functionTimeoutMs),
      ...ofRenewal(settings, routeBounds),
      ...[...routes.values()].flatMap((route) => ofRemote(route, settings, targetTimeoutsMs[route.event.type])),
    ]
  },
})

function ofFunction(
  { reserveMs }: ConsumerSettings,
  { longestTimeoutMs: handlerTimeoutMs, longestType }: RouteBounds,
  functionTimeoutMs: number | undefined,
) {
  const whose = ownedBy(longestType)
  const needed = handlerTimeoutMs + reserveMs
  if (functionTimeoutMs === undefined || functionTimeoutMs >= needed) return []
  return [
    errorResult(
      `The function's timeout, ${functionTimeoutMs} ms, is below handlerTimeoutMs${whose} + reserveMs, ${handlerTimeoutMs} + ${reserveMs} ms: nothing runs`,
      `set the function's timeout to ${Math.ceil(needed / 1_000)} s or more, or handlerTimeoutMs${whose} to at most ${Math.max(0, functionTimeoutMs - reserveMs)}`,
    ),
  ]
}

function ofRenewal(
  { allowLongHandlers, minIdleMs }: ConsumerSettings,
  { longestTimeoutMs: handlerTimeoutMs, longestType }: RouteBounds,
): CheckResult[] {
  if (!allowLongHandlers || minIdleMs >= handlerTimeoutMs) return []
  return [
    infoResult(
      `Handlers may take handlerTimeoutMs${ownedBy(longestType)}, ${handlerTimeoutMs} ms, and are claimed after minIdleMs, ${minIdleMs} ms, unless renewed`,
      `set minIdleMs to ${handlerTimeoutMs + 5_000} or more where a handler may block the event loop: it then cannot be renewed, and runs twice`,
    ),
  ]
}

/** A route that has a time of its own. */
function ownedBy(type: string | undefined): string {
  return type === undefined ? '' : ` of ${quotedValue(type)}`
}

/** @param ownMs The timeout of the function behind the route. */
function ofRemote(
  { event, handler, settings: { handlerTimeoutMs } }: BoundRoute,
  { minIdleMs }: ConsumerSettings,
  ownMs: number | undefined,
): CheckResult[] {
  if (!isRemote(handler)) return []
  const { timeoutMs: waitMs = handlerTimeoutMs } = handler
  const name = `The function that handles ${quotedValue(event.type)}`
  const verdicts: CheckResult[] = []
  if (ownMs === undefined)
    verdicts.push(
      unknownResult(
        `${name} has a timeout that is not known here; it should be at most the ${waitMs} ms that are waited for`,
        `give it: --target-timeout ${event.type}=SECONDS, or targetTimeoutsMs; aws lambda get-function-configuration shows it`,
      ),
    )
  else if (ownMs > waitMs)
    verdicts.push(
      warningResult(
        `${name} may run for ${ownMs} ms and is waited for ${waitMs} ms: what it still does then overlaps with the retry`,
        `set handlerTimeoutMs to ${ownMs} and minIdleMs to ${Math.max(minIdleMs, ownMs + 5_000)} or more, or its timeout to at most ` +
          `${Math.max(1, Math.floor(waitMs / 1_000))} s`,
      ),
    )
  return verdicts
}

function isRemote(handler: unknown): handler is RemoteHandler {
  return typeof handler === 'function' && 'timeoutMs' in handler
}
