import type { DeployedFunction, FunctionOutputLine, LocalInvocation, LocalInvocationResult } from './definitions.ts'
import { ExecutionEnvironment, type ExecutionEnvironmentState } from './execution-environment.ts'
import { throttledError } from './invoke-api-error.ts'
import type { LocalSurroundings } from './variables.ts'

/** What can be seen of an execution environment. */
export interface ExecutionEnvironmentView {
  /** Undefined for a moment, until the process is there. */
  readonly pid: number | undefined
  readonly state: ExecutionEnvironmentState
  /** Events that it was given. */
  readonly served: number
  /** 1 for the function as it was at first, one more with every `deploy()`. */
  readonly deployment: number
}

interface Housed {
  readonly environment: ExecutionEnvironment
  readonly deployment: number
}

/** A function and its execution environments: one an invocation at a time, the warm ones used again. */
export class LocalFunction {
  readonly #where: LocalSurroundings
  readonly #onLog: (line: FunctionOutputLine) => void
  /** Those with nothing to do, the one that was busy last at the end. */
  readonly #idle: Housed[] = []
  readonly #busy = new Set<Housed>()
  #deployed: DeployedFunction
  #deployment = 1

  constructor(deployed: DeployedFunction, where: LocalSurroundings, onLog: (line: FunctionOutputLine) => void) {
    this.#deployed = deployed
    this.#where = where
    this.#onLog = onLog
  }

  get deployed(): DeployedFunction {
    return this.#deployed
  }

  get environments(): ExecutionEnvironmentView[] {
    return [...this.#idle, ...this.#busy]
      .map(({ environment, deployment }) => ({
        pid: environment.pid,
        state: environment.state,
        served: environment.served,
        deployment,
      }))
      .filter(({ state }) => state !== 'ended')
  }

  /** @throws {InvokeApiError} As many invocations as are reserved are running. */
  async invoke(invocation: LocalInvocation): Promise<LocalInvocationResult> {
    if (this.#busy.size >= this.#deployed.reservedConcurrency) throw throttledError()
    const housed = this.#takeIdle() ?? this.#start()
    this.#busy.add(housed)
    try {
      return await housed.environment.invoke(invocation)
    } finally {
      this.#busy.delete(housed)
      if (housed.deployment === this.#deployment) this.#idle.push(housed)
      else await housed.environment.end()
    }
  }

  /** New invocations get the new code; environments of the old one end when they have nothing to do. */
  async deploy(deployed: DeployedFunction): Promise<void> {
    this.#deployed = deployed
    this.#deployment++
    await Promise.all(this.#idle.splice(0).map(({ environment }) => environment.end()))
  }

  /** Ends every environment, whatever it is doing. */
  async close(): Promise<void> {
    this.#deployment++
    const all = [...this.#idle.splice(0), ...this.#busy]
    await Promise.all(all.map(({ environment }) => environment.end()))
  }

  #takeIdle(): Housed | undefined {
    for (let housed = this.#idle.pop(); housed !== undefined; housed = this.#idle.pop())
      if (housed.environment.state !== 'ended') return housed
    return undefined
  }

  #start(): Housed {
    return {
      environment: new ExecutionEnvironment(this.#deployed, this.#where, this.#onLog),
      deployment: this.#deployment,
    }
  }
}
