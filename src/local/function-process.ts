import { type ChildProcess, spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { extname } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { killChildGroupOnExit, signalProcessGroup } from './guard.ts'
import { MEMORY_CHECK_INTERVAL_MS, peakMemoryMb } from './memory.ts'

/** This module's own extension: `.js` when built, `.ts` when run from the sources. */
const CLIENT = fileURLToPath(new URL(`./rapid-client${extname(import.meta.url)}`, import.meta.url))
/** The shares of a function's memory that Lambda's Node.js runtime gives to V8's old and young generations. */
const OLD_SPACE_SHARE = 0.9
const SEMI_SPACE_SHARE = 0.05

export interface FunctionProcessOptions {
  readonly variables: Readonly<Record<string, string>>
  readonly folder: string
  readonly memoryMb: number
  readonly onLine: (source: 'stdout' | 'stderr', text: string) => void
}

/** How a process ended. */
export interface FunctionProcessEnd {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/**
 * The process of one execution environment: AWS's runtime interface client with the function in it, in a process group of its own. It is
 * gone when this process is.
 */
export class FunctionProcess {
  readonly ended: Promise<FunctionProcessEnd>
  readonly #child: ChildProcess
  readonly #memoryMb: number
  #peakMb = 0
  #deadline: NodeJS.Timeout | undefined
  #poll: NodeJS.Timeout | undefined

  constructor({ variables, folder, memoryMb, onLine }: FunctionProcessOptions) {
    this.#memoryMb = memoryMb
    const child = spawn(process.execPath, [...heapOptions(memoryMb), '--import', CLIENT, findRuntimeClient()], {
      cwd: folder,
      env: variables,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    })
    this.#child = child
    killChildGroupOnExit(child)
    createInterface(child.stdout).on('line', (text) => onLine('stdout', text))
    createInterface(child.stderr).on('line', (text) => onLine('stderr', text))
    child.on('error', (error) => onLine('stderr', error.message))
    // What the function started would otherwise outlive it, and keep its output open.
    child.once('exit', () => signalProcessGroup(child, 'SIGKILL'))
    this.ended = new Promise((resolve) => {
      child.once('close', (code, signal) => {
        this.unwatch()
        resolve({ code, signal })
      })
    })
  }

  get pid(): number | undefined {
    return this.#child.pid
  }

  /** The most memory that it had at any time it was inspected, in MB. */
  get peakMb(): number {
    if (this.#child.pid !== undefined) this.#peakMb = Math.max(this.#peakMb, peakMemoryMb(this.#child.pid))
    return this.#peakMb
  }

  /** Whether it ever had more memory than it may. */
  get isOverLimit(): boolean {
    return this.peakMb > this.#memoryMb
  }

  freeze(): void {
    signalProcessGroup(this.#child, 'SIGSTOP')
  }

  thaw(): void {
    signalProcessGroup(this.#child, 'SIGCONT')
  }

  kill(): void {
    if (this.#child.exitCode === null && this.#child.signalCode === null) signalProcessGroup(this.#child, 'SIGKILL')
  }

  /** Kills it after that long, and as soon as it has more memory than it may, until `unwatch()`. */
  watch(limitMs: number, onTimeout: () => void): void {
    this.#deadline = setTimeout(() => {
      onTimeout()
      this.kill()
    }, limitMs)
    this.#poll = setInterval(() => {
      if (this.isOverLimit) this.kill()
    }, MEMORY_CHECK_INTERVAL_MS)
  }

  unwatch(): void {
    clearTimeout(this.#deadline)
    clearInterval(this.#poll)
  }
}

/** What Lambda's bootstrap passes to Node.js. */
function heapOptions(memoryMb: number): string[] {
  const megabytes = (share: number) => Math.max(1, Math.floor(memoryMb * share))
  return [
    '--expose-gc',
    `--max-semi-space-size=${megabytes(SEMI_SPACE_SHARE)}`,
    `--max-old-space-size=${megabytes(OLD_SPACE_SHARE)}`,
  ]
}

/** @throws {Error} The package is not installed. */
export function findRuntimeClient(): string {
  try {
    return createRequire(import.meta.url).resolve('aws-lambda-ric')
  } catch (cause) {
    throw new Error('Cannot run functions: aws-lambda-ric is not installed; npm install --save-dev aws-lambda-ric@4', {
      cause,
    })
  }
}
