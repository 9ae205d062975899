import { type Clock, systemClock } from '../clock.ts'
import type { FunctionDefinition, FunctionOutputLine, LocalInvocationReport } from './definitions.ts'
import { LocalInvocationDispatcher } from './dispatcher.ts'
import { findRuntimeClient } from './function-process.ts'
import { LocalInvokeApi } from './lambda-api.ts'
import type { ExecutionEnvironmentView } from './local-function.ts'
import { LocalSchedules, type ScheduleDefinition } from './schedules.ts'

export interface LocalLambdaOptions {
  readonly functions: readonly FunctionDefinition[]
  readonly schedules?: readonly ScheduleDefinition[]
  /** Default `us-east-1`. */
  readonly region?: string
  /** Default `000000000000`. */
  readonly accountId?: string
  /** What schedules and the retries of asynchronous invocations go by; limits of functions go by the system's clock. */
  readonly clock?: Clock
  /** Every line that a function or the platform writes. */
  readonly onLog?: (line: FunctionOutputLine) => void
  /** Every run of a function, when it is over. */
  readonly onInvocation?: (report: LocalInvocationReport) => void
}

/** What an invocation is answered. */
interface InvokeAnswer {
  /** 200: the function ran. 202: it will. */
  readonly statusCode: 200 | 202
  readonly requestId: string
  /** Set if the function failed; `payload` says how. */
  readonly functionError?: 'Unhandled'
  /** Parsed. */
  readonly payload?: unknown
}

/** A Lambda on this machine. */
export interface LocalLambda {
  /** Address of the Invoke API, for `AWS_ENDPOINT_URL_LAMBDA`. */
  readonly url: string
  /**
   * Invokes a function as the API does.
   *
   * @throws {InvokeApiError} `ResourceNotFoundException`, `TooManyRequestsException`.
   */
  invoke(
    name: string,
    payload?: unknown,
    options?: { readonly type?: LocalInvocationReport['type'] },
  ): Promise<InvokeAnswer>
  /** Adds functions, or puts new versions in their places: new invocations go to those while running ones finish in the old. */
  deploy(...functions: readonly FunctionDefinition[]): Promise<void>
  /** Puts these schedules in the place of those that run. */
  schedule(schedules: readonly ScheduleDefinition[]): void
  /** Wakes what a schedule wakes, now; without a name, what all enabled ones do. */
  tick(name?: string): void
  /** @throws {InvokeApiError} `ResourceNotFoundException`. */
  environments(name: string): ExecutionEnvironmentView[]
  /** Resolves when nothing runs and no event waits. */
  idle(): Promise<void>
  /** Ends everything: no process and no port is left. */
  close(): Promise<void>
}

/**
 * Starts a Lambda on this machine.
 *
 * @throws {Error} On Windows, or where aws-lambda-ric is not installed.
 * @throws {RangeError} A schedule's expression is not supported.
 */
export async function startLocalLambda(options: LocalLambdaOptions): Promise<LocalLambda> {
  assertPossible()
  const { region = 'us-east-1', accountId = '000000000000', clock = systemClock } = options
  const { onLog = () => {}, onInvocation = () => {} } = options
  const api = await LocalInvokeApi.start()
  const { url } = api
  const dispatcher = new LocalInvocationDispatcher({ region, accountId, endpoint: url }, { clock, onLog, onInvocation })
  api.serve(dispatcher)
  const startSchedules = (definitions: readonly ScheduleDefinition[]) => {
    for (const { functionName } of definitions) dispatcher.find(functionName)
    return new LocalSchedules(definitions, {
      clock,
      region,
      accountId,
      wake: (name, event) => dispatcher.enqueue(name, event),
    })
  }
  let schedules: LocalSchedules
  try {
    for (const definition of options.functions) await dispatcher.deploy(definition)
    schedules = startSchedules(options.schedules ?? [])
  } catch (error) {
    await api.close()
    throw error
  }
  return {
    url,
    invoke: (name, payload = {}, { type = 'RequestResponse' } = {}) => invoke(dispatcher, name, payload, type),
    async deploy(...functions) {
      await Promise.all(functions.map((definition) => dispatcher.deploy(definition)))
    },
    schedule(definitions) {
      const next = startSchedules(definitions)
      schedules.stop()
      schedules = next
    },
    tick: (name) => schedules.tick(name),
    environments: (name) => dispatcher.find(name).environments,
    idle: () => dispatcher.idle(),
    async close() {
      schedules.stop()
      await dispatcher.close()
      await api.close()
    },
  }
}

async function invoke(
  dispatcher: LocalInvocationDispatcher,
  name: string,
  payload: unknown,
  type: LocalInvocationReport['type'],
): Promise<InvokeAnswer> {
  const event = JSON.stringify(payload)
  if (type === 'Event') return { statusCode: 202, requestId: dispatcher.enqueue(name, event) }
  const { requestId, result } = await dispatcher.invoke(name, event)
  return {
    statusCode: 200,
    requestId,
    ...(result.functionError && { functionError: result.functionError }),
    payload: JSON.parse(result.payload) as unknown,
  }
}

/** @throws {Error} */
function assertPossible(): void {
  // Windows can neither stop a process nor say how to go on
  if (process.platform === 'win32')
    throw new Error('Cannot run functions on Windows, which can neither freeze a process nor limit it so: use WSL')
  findRuntimeClient()
}
