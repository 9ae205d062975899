import { UnavailableError } from 'millrace'

const REFUSED = [401, 403, 404]

/** An error of an AWS client. */
interface ServiceError extends Error {
  readonly $metadata?: { readonly httpStatusCode?: number }
}

/**
 * Awaits a request to AWS. Where the service took no work (throttled, out of order, not reached) events are handed back, at no delivery; where it will not take any (a right, or what it is asked for,
 * is missing), the invocation fails as well, so that an alarm goes off.
 *
 * @throws {UnavailableError} Either. Whatever else the service says is thrown as it is.
 */
export async function askAws<Answer>(service: string, request: Promise<Answer>): Promise<Answer> {
  try {
    return await request
  } catch (error) {
    const { name, $metadata } = error as ServiceError
    const status = $metadata?.httpStatusCode
    const isLasting = status !== undefined && REFUSED.includes(status)
    const isBusy = status === undefined || status === 429 || status >= 500 || /throttl|slowdown/i.test(name)
    if (isLasting || isBusy)
      throw new UnavailableError(`${service} takes no work: ${name}`, { isLasting, cause: error })
    throw error
  }
}
