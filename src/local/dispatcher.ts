import type { Clock } from '../clock.ts'
import { type DropReason, deliverAsyncEvent } from './asynchronous.ts'
import type {
  FunctionDefinition,
  FunctionOutputLine,
  LocalInvocation,
  LocalInvocationReport,
  LocalInvocationResult,
} from './definitions.ts'
import { withFunctionDefaults } from './definitions.ts'
import { InvokeApiError } from './invoke-api-error.ts'
import { LocalFunction } from './local-function.ts'
import { functionArn, type LocalSurroundings } from './variables.ts'

export interface LocalInvocationDispatcherOptions {
  readonly clock: Clock
  readonly onLog: (line: FunctionOutputLine) => void
  readonly onInvocation: (report: LocalInvocationReport) => void
}

/** All functions, by name, and what is on its way to them. */
export class LocalInvocationDispatcher {
  readonly #functions = new Map<string, LocalFunction>()
  readonly #where: LocalSurroundings
  readonly #options: LocalInvocationDispatcherOptions
  readonly #closing = new AbortController()
  readonly #underway = new Set<Promise<unknown>>()

  constructor(where: LocalSurroundings, options: LocalInvocationDispatcherOptions) {
    this.#where = where
    this.#options = options
  }

  /** Adds the function, or puts it in the place of the one that has its name. */
  async deploy(definition: FunctionDefinition): Promise<void> {
    const deployed = withFunctionDefaults(definition)
    const present = this.#functions.get(deployed.name)
    if (present) await present.deploy(deployed)
    else this.#functions.set(deployed.name, new LocalFunction(deployed, this.#where, this.#options.onLog))
  }

  /** @throws {InvokeApiError} No function has that name. */
  find(name: string): LocalFunction {
    const found = this.#functions.get(name)
    if (found) return found
    throw new InvokeApiError('ResourceNotFoundException', 404, `Function not found: ${functionArn(name, this.#where)}`)
  }

  /**
   * Runs the function and waits for it.
   *
   * @param payload JSON.
   * @throws {InvokeApiError} No such function, or it was throttled.
   */
  invoke(name: string, payload: string): Promise<LocalInvocation & { readonly result: LocalInvocationResult }> {
    const invocation = { requestId: crypto.randomUUID(), payload }
    const run = this.#run(name, invocation, 'RequestResponse', 1)
    return this.#track(run.then((result) => ({ ...invocation, result })))
  }

  /**
   * Takes the event and runs the function by and by.
   *
   * @returns The request's id.
   * @throws {InvokeApiError} No such function.
   */
  enqueue(name: string, payload: string): string {
    const target = this.find(name)
    const invocation = { requestId: crypto.randomUUID(), payload }
    const delivery = deliverAsyncEvent({
      clock: this.#options.clock,
      signal: this.#closing.signal,
      settings: () => target.deployed,
      attempt: (number) =>
        this.#run(name, invocation, 'Event', number).then(
          (result) => (result.functionError ? 'failed' : 'handled'),
          (error: unknown) => {
            if (error instanceof InvokeApiError) return 'throttled'
            throw error
          },
        ),
    })
    void this.#track(delivery.then((reason) => this.#tellDrop(name, invocation.requestId, reason)))
    return invocation.requestId
  }

  /** Resolves when nothing runs and nothing waits. */
  async idle(): Promise<void> {
    while (this.#underway.size > 0) await Promise.allSettled(this.#underway)
  }

  /** Ends every environment. What still waits is forgotten. */
  async close(): Promise<void> {
    this.#closing.abort()
    await Promise.all([...this.#functions.values()].map((one) => one.close()))
    await this.idle()
  }

  async #run(
    functionName: string,
    invocation: LocalInvocation,
    type: LocalInvocationReport['type'],
    attempt: number,
  ): Promise<LocalInvocationResult> {
    const target = this.find(functionName)
    if (this.#closing.signal.aborted)
      throw new InvokeApiError('ResourceNotFoundException', 404, 'The local Lambda is closed')
    const result = await target.invoke(invocation)
    this.#options.onInvocation({ functionName, requestId: invocation.requestId, type, attempt, ...result })
    return result
  }

  #track<T>(work: Promise<T>): Promise<T> {
    const tracked = work.finally(() => this.#underway.delete(tracked))
    this.#underway.add(tracked)
    return tracked
  }

  #tellDrop(functionName: string, requestId: string, reason: DropReason | undefined): void {
    // with retries off a failure is the end of it, and has been reported as such
    if (
      reason === undefined ||
      (reason === 'RetriesExhausted' && this.find(functionName).deployed.maxRetryAttempts === 0)
    )
      return
    this.#options.onLog({ functionName, source: 'platform', text: `DROPPED RequestId: ${requestId} Reason: ${reason}` })
  }
}
