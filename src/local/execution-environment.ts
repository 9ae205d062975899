import type { DeployedFunction, FunctionOutputLine, LocalInvocation, LocalInvocationResult } from './definitions.ts'
import { processExitedAnswer, timeoutAnswer, timeoutText } from './failures.ts'
import { FunctionProcess, type FunctionProcessEnd } from './function-process.ts'
import { endLogLine, reportLine, startLogLine } from './platform-log.ts'
import { RUNTIME_SECRET_VARIABLE } from './rapid-secret.ts'
import { type FunctionAnswer, RuntimeApi } from './runtime-api.ts'
import { environmentVariables, functionArn, type LocalSurroundings } from './variables.ts'

/** How long a function may take to load. @see https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html */
const INIT_LIMIT_MS = 10_000

export type ExecutionEnvironmentState = 'starting' | 'busy' | 'frozen' | 'ended'

/** An event that a function is busy with. */
interface Running {
  readonly requestId: string
  readonly over: PromiseWithResolvers<void>
  answer: FunctionAnswer | undefined
}

/**
 * One execution environment: a process that handles one event at a time.
 *
 * It is `starting` until the function is loaded and asks for its first event; `busy` from getting an event until it asks for the next one,
 * not just until it answered; `frozen` in between, when its process does not run at all; and `ended` for good once the process is gone,
 * whoever ended it.
 */
export class ExecutionEnvironment {
  readonly #deployed: DeployedFunction
  readonly #where: LocalSurroundings
  readonly #onLog: (line: FunctionOutputLine) => void
  /** Settles when the function is loaded, or never will be. */
  readonly #loaded = Promise.withResolvers<void>()
  readonly #gone = Promise.withResolvers<void>()
  #state: ExecutionEnvironmentState = 'starting'
  #served = 0
  #api: RuntimeApi | undefined
  #process: FunctionProcess | undefined
  #running: Running | undefined
  #initMs: number | undefined
  #initError: string | undefined
  /** The limit that it was killed at. */
  #timedOutAfterMs: number | undefined
  #end: FunctionProcessEnd = { code: null, signal: 'SIGKILL' }

  /** Starts it; `invoke()` waits for it. */
  constructor(deployed: DeployedFunction, where: LocalSurroundings, onLog: (line: FunctionOutputLine) => void) {
    this.#deployed = deployed
    this.#where = where
    this.#onLog = onLog
    this.#launch().catch((error: Error) => {
      this.#initError = JSON.stringify({ errorType: error.name, errorMessage: error.message })
      this.#onEnd(this.#end)
    })
  }

  get state(): ExecutionEnvironmentState {
    return this.#state
  }

  get pid(): number | undefined {
    return this.#process?.pid
  }

  /** How many events it was given. */
  get served(): number {
    return this.#served
  }

  /** Hands it an event and waits until it is done with it. One at a time. */
  async invoke(invocation: LocalInvocation): Promise<LocalInvocationResult> {
    const { requestId } = invocation
    this.#log(startLogLine(requestId))
    this.#served++
    await this.#loaded.promise
    const from = performance.now()
    const answer = (await this.#run(invocation)) ?? { payload: this.#failure(requestId), isError: true }
    const result: LocalInvocationResult = {
      payload: answer.payload,
      ...(answer.isError && { functionError: 'Unhandled' }),
      durationMs: performance.now() - from,
      ...(this.#initMs !== undefined && { initMs: this.#initMs }),
      maxMemoryMb: this.#process?.peakMb ?? 0,
    }
    this.#initMs = undefined
    this.#log(endLogLine(requestId))
    this.#log(reportLine(requestId, result, this.#deployed.memoryMb))
    return result
  }

  /** Ends it, whatever it is doing, and waits until it is gone. */
  async end(): Promise<void> {
    if (this.#process) this.#process.kill()
    else this.#onEnd(this.#end)
    await this.#gone.promise
  }

  async #launch(): Promise<void> {
    const from = performance.now()
    const api = await RuntimeApi.start({
      onNext: () => this.#onNext(from),
      onAnswer: (requestId, answer) => {
        if (this.#running?.requestId === requestId) this.#running.answer ??= answer
      },
      onInitError: (payload) => {
        this.#initError = payload
      },
    })
    if (this.#state === 'ended') return api.close()
    this.#api = api
    const { codeFolder, memoryMb } = this.#deployed
    const variables = environmentVariables(this.#deployed, this.#where)
    this.#process = new FunctionProcess({
      variables: { ...variables, AWS_LAMBDA_RUNTIME_API: api.address, [RUNTIME_SECRET_VARIABLE]: api.secret },
      folder: codeFolder,
      memoryMb,
      onLine: (source, text) => this.#onLog({ functionName: this.#deployed.name, source, text }),
    })
    this.#watch(INIT_LIMIT_MS)
    this.#onEnd(await this.#process.ended, from)
  }

  #onNext(from: number): void {
    this.#process?.unwatch()
    if (this.#process?.isOverLimit) {
      // Lambda would not have let it come this far; memory is inspected only now and then
      if (this.#running) this.#running.answer = undefined
      this.#process.kill()
    } else if (this.#running) {
      this.#process?.freeze()
      // What it printed has arrived by then: it was written before the request was.
      setImmediate(this.#running.over.resolve)
    } else {
      this.#initMs = performance.now() - from
      this.#loaded.resolve()
    }
  }

  async #run({ requestId, payload }: LocalInvocation): Promise<FunctionAnswer | undefined> {
    if (this.#state === 'ended') return undefined
    const { name, timeoutMs } = this.#deployed
    const running: Running = { requestId, over: Promise.withResolvers(), answer: undefined }
    this.#running = running
    this.#state = 'busy'
    this.#process?.thaw()
    this.#watch(timeoutMs)
    this.#api?.deliver({
      requestId,
      payload,
      deadlineMs: Date.now() + timeoutMs,
      functionArn: functionArn(name, this.#where),
      traceId: `Root=1-${Math.floor(Date.now() / 1000).toString(16)}-${requestId.replaceAll('-', '').slice(0, 24)};Sampled=0`,
    })
    await running.over.promise
    this.#running = undefined
    if (!this.#isEnded()) this.#state = 'frozen'
    return running.answer
  }

  #watch(limitMs: number): void {
    this.#process?.watch(limitMs, () => {
      this.#timedOutAfterMs = limitMs
      const what = this.#running ? this.#running.requestId : 'INIT_REPORT'
      this.#log(`${new Date().toISOString()} ${what} ${timeoutText(limitMs)}`)
    })
  }

  #onEnd(end: FunctionProcessEnd, from?: number): void {
    this.#end = end
    if (this.#state === 'starting' && from !== undefined) this.#initMs ??= performance.now() - from
    this.#state = 'ended'
    this.#api?.close()
    this.#loaded.resolve()
    this.#running?.over.resolve()
    this.#gone.resolve()
  }

  #isEnded(): boolean {
    return this.#state === 'ended'
  }

  #failure(requestId: string): string {
    if (this.#timedOutAfterMs !== undefined) return timeoutAnswer(requestId, this.#timedOutAfterMs)
    return this.#initError ?? processExitedAnswer(requestId, this.#end.code, this.#end.signal)
  }

  #log(text: string): void {
    this.#onLog({ functionName: this.#deployed.name, source: 'platform', text })
  }
}
