/** Later versions may say more after the flags; version ff is none. */
const TRACEPARENT = /^(?!ff)([\da-f]{2})-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(-.*)?$/

/**
 * The trace, the span and the flags that a W3C `traceparent` names, in hexadecimal; `undefined` where a text has not its form.
 *
 * @see https://www.w3.org/TR/trace-context/#traceparent-header
 */
export function splitTraceparent(text: string) {
  const [, version, traceId = '', spanId = '', flags = '', more] = TRACEPARENT.exec(text) ?? []
  return version === undefined || (version === '00' && more) ? undefined : { traceId, spanId, flags }
}
