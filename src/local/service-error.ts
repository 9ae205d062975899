/** What Lambda's Invoke API refuses, under AWS's names: the SDK makes an error of that name of it. */
export type ServiceErrorName =
  | 'AccessDeniedException'
  | 'InvalidParameterValueException'
  | 'InvalidRequestContentException'
  | 'RequestTooLargeException'
  | 'ResourceNotFoundException'
  | 'TooManyRequestsException'

/** The invocation was refused: no function ran. */
export class ServiceError extends Error {
  override readonly name: ServiceErrorName
  readonly statusCode: number
  /** Why it was throttled. */
  readonly reason: string | undefined

  constructor(name: ServiceErrorName, statusCode: number, message: string, reason?: string) {
    super(message)
    this.name = name
    this.statusCode = statusCode
    this.reason = reason
  }
}

export function throttled(): ServiceError {
  return new ServiceError(
    'TooManyRequestsException',
    429,
    'Rate Exceeded.',
    'ReservedFunctionConcurrentInvocationLimitExceeded',
  )
}
