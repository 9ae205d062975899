/** What Lambda's Invoke API refuses, under AWS's names: the SDK makes an error of that name of it. */
export type InvokeApiErrorName =
  | 'AccessDeniedException'
  | 'InvalidParameterValueException'
  | 'InvalidRequestContentException'
  | 'RequestTooLargeException'
  | 'ResourceNotFoundException'
  | 'TooManyRequestsException'

/** The invocation was refused: no function ran. */
export class InvokeApiError extends Error {
  override readonly name: InvokeApiErrorName
  readonly statusCode: number
  /** Why it was throttled. */
  readonly reason: string | undefined

  constructor(name: InvokeApiErrorName, statusCode: number, message: string, reason?: string) {
    super(message)
    this.name = name
    this.statusCode = statusCode
    this.reason = reason
  }
}

export function throttledError(): InvokeApiError {
  return new InvokeApiError(
    'TooManyRequestsException',
    429,
    'Rate Exceeded.',
    'ReservedFunctionConcurrentInvocationLimitExceeded',
  )
}
