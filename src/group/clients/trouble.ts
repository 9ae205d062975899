/** What to say of a connection that came to nothing. */

const CA = 'pass the certificate of its authority as options.tls.ca'

/** By the code of the error, and what to change. */
const ADVICE: readonly (readonly [code: RegExp, advice: string])[] = [
  [/^(EPROTO|ERR_SSL_)/, 'the server does not speak TLS there; use redis://, or its TLS port'],
  [
    /^ERR_TLS_CERT_ALTNAME_INVALID$/,
    'through a tunnel or by an address, set options.tls.servername to the name in the certificate',
  ],
  [/^(UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_)/, CA],
  [/^(ENOENT|EACCES)$/, 'the path must be the socket that the server listens on'],
  [/^(ENOTFOUND|EAI_)/, 'the host must be a name that is resolved where this runs'],
]

/** What a function of the user's failed with, without a URL: some clients quote theirs. */
export function describeFailure(error: unknown): string {
  const { name = 'Error', message = '' } = (error ?? {}) as Partial<Error>
  return `${name}: ${message.replace(/\S+:\/\/.*/s, 'a URL')}`
}

/** What is known to mean that a server speaks TLS where it was spoken to without. */
export const SPEAKS_TLS = 'the server hung up without an answer; if it speaks TLS, use rediss://'

/** What an error of a socket says, and what to change. Never its cause nor its members. */
export function describeTrouble(error: unknown): string {
  const {
    code = '',
    message = '',
    errors = [],
  } = (error ?? {}) as Partial<NodeJS.ErrnoException> & { errors?: Error[] }
  // every address of the name failed
  if (!message && errors[0]) return describeTrouble(errors[0])
  const [, advice] = ADVICE.find(([pattern]) => pattern.test(code)) ?? []
  const [said = ''] = message.replace(/^[0-9A-F]+:error:[0-9A-F]+:/, '').split('\n')
  return advice ? `${said}; ${advice}` : said
}
