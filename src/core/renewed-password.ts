/**
 * Names what makes the password of each new connection, on the `retryStrategy` that goes with it: it survives where options are spread, which reads
 * a getter but once.
 */
export const MAKES_PASSWORD = Symbol.for('millrace.makesPassword')
