/**
 * Names what makes the password of each new connection, on the `retryStrategy` that goes with it: it survives where options are spread, which reads
 * a getter but once.
 */
export const PASSWORD_MAKER = Symbol.for('millrace.makesPassword')
