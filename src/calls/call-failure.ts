import { FunctionFailedError, quotedValue, UnavailableError } from '../errors.ts'

/** What became of a call that was not answered with 200. */
type CallFailure =
  /** Nothing began, and it will pass. */
  | 'unavailable'
  /** Nothing began, nor will it before somebody fixes what is wrong. */
  | 'misconfigured'
  /** Nothing began, because of the request itself: it is too large, or cannot be read. */
  | 'unacceptable'
  /** Nothing began, and why is not known: one event of the request may be the cause. */
  | 'refused'
  /** The function may have run. */
  | 'lost'

/** What of an error of the SDK, of Node.js or of a server is judged. */
interface Facts {
  readonly name?: string
  readonly message?: string
  readonly code?: unknown
  readonly syscall?: unknown
  readonly errors?: readonly unknown[]
  readonly $metadata?: { readonly httpStatusCode?: number }
}

/** No permission, or no such thing; function not ready, being changed, or asked too often; 410 is a file system that failed a running function, 504 a proxy out of patience. */
const STATUS: Readonly<Record<number, CallFailure>> = {
  401: 'misconfigured',
  403: 'misconfigured',
  404: 'misconfigured',
  405: 'misconfigured',
  407: 'misconfigured',
  408: 'unavailable',
  409: 'unavailable',
  410: 'lost',
  413: 'unacceptable',
  429: 'unavailable',
  504: 'lost',
}

/** Names that say more than their status: Lambda answers 502 for a key, a subnet or a zip file that it cannot use. */
const NAMES: readonly (readonly [pattern: RegExp, CallFailure])[] = [
  [/Throttl|TooManyRequests/, 'unavailable'],
  [/^InvalidRequestContent/, 'unacceptable'],
  [
    /^KMS|^Invalid|AccessDenied|NotAuthorized|NotFound|Signature|Token|UnrecognizedClient|RequestExpired|OptIn|RecursiveInvocation/,
    'misconfigured',
  ],
]

const NEVER_CONNECTED = ['ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH']
const UNTRUSTED = /^ERR_TLS|CERT|UNABLE_TO_/
const OF_THE_NETWORK = /^E(?!RR_)[A-Z]+$/

/**
 * @param wasSent The request was handed over to be sent: what fails before that is the configuration, such as missing credentials.
 * @see https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html#API_Invoke_Errors
 */
export function judgeCall(error: unknown, wasSent: boolean): CallFailure {
  const facts = (error ?? {}) as Facts
  const status = facts.$metadata?.httpStatusCode
  if (status !== undefined) return judgeStatus(status, facts.name ?? '')
  if (isNeverConnected(facts)) return 'unavailable'
  const code = `${facts.code ?? ''}`
  if (UNTRUSTED.test(code)) return 'misconfigured'
  return wasSent || OF_THE_NETWORK.test(code) || facts.name === 'TimeoutError' ? 'lost' : 'misconfigured'
}

/** The error of the entries, unless it was the request itself. */
export function entriesErrorOfCall(
  functionName: string,
  failure: Exclude<CallFailure, 'unacceptable' | 'refused'>,
  cause: unknown,
): Error {
  const { name = 'Error', message = '' } = (cause ?? {}) as Facts
  if (failure === 'lost') {
    return new FunctionFailedError(functionName, name, `${message}; whether it ran is not known`)
  }
  const text = `Function ${quotedValue(functionName)} could not be called: ${name}: ${message}`
  return new UnavailableError(text, { isLasting: failure === 'misconfigured', cause })
}

/** The error of an event that was refused by itself: it has used up a delivery. */
export function singleEventRefusedError(functionName: string, cause: unknown): Error {
  const { name = 'Error', message = '' } = (cause ?? {}) as Facts
  return new FunctionFailedError(functionName, name, `${message}; the request with only this event was refused`)
}

function judgeStatus(status: number, name: string): CallFailure {
  const [, byName] = NAMES.find(([pattern]) => status >= 400 && pattern.test(name)) ?? []
  if (byName) return byName
  return STATUS[status] ?? (status >= 500 ? 'unavailable' : status >= 400 ? 'refused' : 'lost')
}

function isNeverConnected({ code, syscall, errors }: Facts): boolean {
  // a host of several addresses fails with an error each
  if (errors?.length) return errors.every((error) => isNeverConnected((error ?? {}) as Facts))
  return syscall === 'connect' || syscall === 'getaddrinfo' || NEVER_CONNECTED.includes(code as string)
}
