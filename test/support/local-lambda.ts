import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { FunctionDefinition, LocalInvocationReport } from '../../src/local/definitions.ts'
import type { LocalLambda, LocalLambdaOptions } from '../../src/local/local-lambda.ts'
import { startLocalLambda } from '../../src/local/local-lambda.ts'

/** A function of one module, whose name is `fn` unless said otherwise; its folder goes with the test. */
export async function aFunction(
  code: string,
  definition: Partial<FunctionDefinition> = {},
): Promise<FunctionDefinition> {
  const codeFolder = await mkdtemp(join(tmpdir(), 'millrace-function-'))
  onTestFinished(() => rm(codeFolder, { recursive: true, force: true }))
  await writeFile(join(codeFolder, 'main.mjs'), code)
  return { name: 'fn', handler: 'main.handler', codeFolder, timeoutMs: 10_000, memoryMb: 256, ...definition }
}

export interface ObservedLambda extends LocalLambda {
  /** What was reported so far. */
  readonly reports: readonly LocalInvocationReport[]
  /** What was written so far: source, a space, text. */
  readonly lines: readonly string[]
  /** Resolves once a line matches. */
  said(pattern: RegExp): Promise<string>
}

/** A local Lambda that ends with the test. */
export async function startLambda(options: LocalLambdaOptions): Promise<ObservedLambda> {
  const reports: LocalInvocationReport[] = []
  const lines: string[] = []
  const waiting = new Set<() => void>()
  const lambda = await startLocalLambda({
    ...options,
    onInvocation: (report) => reports.push(report),
    onLog({ source, text }) {
      lines.push(`${source} ${text}`)
      for (const look of waiting) look()
    },
  })
  onTestFinished(() => lambda.close())
  const said = (pattern: RegExp) =>
    new Promise<string>((resolve) => {
      const look = () => {
        const line = lines.find((text) => pattern.test(text))
        if (line === undefined) return
        waiting.delete(look)
        resolve(line)
      }
      waiting.add(look)
      look()
    })
  return { ...lambda, reports, lines, said }
}

/** Whether the process is there. */
export function isRunning(pid: number | undefined): boolean {
  try {
    return pid !== undefined && process.kill(pid, 0)
  } catch {
    return false
  }
}
