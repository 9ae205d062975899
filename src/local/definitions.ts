/** What a local Lambda runs, and what it reports of it. Times are in milliseconds. */

/** A function as it is deployed. */
export interface FunctionDefinition {
  /** The physical name, by which it is invoked. */
  readonly name: string
  /** Path in `codeFolder` without its extension, a dot, and the export: `functions/orders/poller.handler`. */
  readonly handler: string
  /** Where the unpacked code is; `LAMBDA_TASK_ROOT`. */
  readonly codeFolder: string
  /** A function that takes longer is killed. Default 3,000, as AWS has it. */
  readonly timeoutMs?: number
  /** A function whose resident memory passes it is killed; MB. Default 128, as AWS has it. */
  readonly memoryMb?: number
  readonly environment?: Readonly<Record<string, string>>
  /** More invocations than that at a time are refused with a 429. Default: as many as come. */
  readonly reservedConcurrency?: number
  /** How often an asynchronous invocation whose function failed is tried again, 0 to 2. Default 2, as AWS has it. */
  readonly maxRetryAttempts?: number
  /** An asynchronous invocation that waited longer is dropped. Default 6 hours, as AWS has it. */
  readonly maxEventAgeMs?: number
}

export type DeployedFunction = Required<FunctionDefinition>

const DEFAULTS = {
  timeoutMs: 3_000,
  memoryMb: 128,
  environment: {},
  reservedConcurrency: Infinity,
  maxRetryAttempts: 2,
  maxEventAgeMs: 21_600_000,
}

export function withFunctionDefaults(definition: FunctionDefinition): DeployedFunction {
  return { ...DEFAULTS, ...definition }
}

/** One event on its way to a function. */
export interface LocalInvocation {
  readonly requestId: string
  /** JSON. */
  readonly payload: string
}

/** How one run of a function ended. */
export interface LocalInvocationResult {
  /** JSON: what the handler answered, or Lambda's description of the failure. */
  readonly payload: string
  /** Set if the function failed, by itself or by a limit. */
  readonly functionError?: 'Unhandled'
  readonly durationMs: number
  /** Starting the environment and billed with it; only of its first invocation. */
  readonly initMs?: number
  readonly maxMemoryMb: number
}

/** A run of a function, reported when it is over. */
export interface LocalInvocationReport extends LocalInvocationResult {
  readonly functionName: string
  readonly requestId: string
  readonly type: 'RequestResponse' | 'Event'
  /** 1, and more for an asynchronous invocation that is tried again. */
  readonly attempt: number
}

/** A line that a function or the platform wrote. */
export interface FunctionOutputLine {
  readonly functionName: string
  /** `platform` wrote START, END, REPORT and the like. */
  readonly source: 'stdout' | 'stderr' | 'platform'
  readonly text: string
}
