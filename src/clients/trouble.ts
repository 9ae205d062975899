/** What to say of a connection that came to nothing. */

const CA = 'pass the certificate of its authority as options.tls.ca'

/** By the code of the error, and what to change. */
const ADVICE: readonly (readonly [code: RegExp, advice: string])[] = [
  [/ALERT_.*CERT/, 'pass a client certificate as options.tls.cert and key'],
  [/^(EPROTO|ERR_SSL_)/, 'use redis://, or the TLS port'],
  [/^ERR_TLS_CERT_ALTNAME_INVALID$/, 'set options.tls.servername to the name in the certificate'],
  [/^(UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_)/, CA],
  [/^ECONNREFUSED$/, 'a server must be up there: check host and port'],
  [/^(ENOENT|EACCES)$/, 'the path must be the socket of the server'],
  [/^(ENOTFOUND|EAI_)/, 'the host must be a name that this machine can resolve'],
]

/** What a function of the user's failed with, without a URL: some clients quote theirs. */
export function describeUserFunctionFailure(error: unknown): string {
  if (!(error instanceof Error)) return 'it threw something that is no Error'
  const { name, message } = error
  return `${name}: ${message.replace(/\S+:\/\/.*/s, 'a URL')}`
}

/** What is known to mean that a server speaks TLS where it was spoken to without. */
export const HUNG_UP_MESSAGE = 'the server hung up without an answer'
export const SPEAKS_TLS_MESSAGE = `${HUNG_UP_MESSAGE}; if it speaks TLS, use rediss://`

/** What answers there is something else. */
export const NOT_REDIS_MESSAGE = 'the answer is not one of Redis; host and port must be of a Redis server'

/** What an error of a socket says, and what to change. Never its cause nor its members. */
export function describeSocketError(error: unknown): string {
  const {
    code = '',
    message = '',
    errors = [],
  } = (error ?? {}) as Partial<NodeJS.ErrnoException> & { errors?: Error[] }
  // every address of the name failed
  if (!message && errors[0]) return describeSocketError(errors[0])
  if (/please report this/i.test(message)) return NOT_REDIS_MESSAGE
  const [, advice] = ADVICE.find(([pattern]) => pattern.test(code)) ?? []
  const [said = ''] = message.replace(/^[0-9A-F]+:error:[0-9A-F]+:[^:]*:[^:]*:([^:]*):.*/s, '$1').split('\n')
  return advice ? `${said}; ${advice}` : said
}
