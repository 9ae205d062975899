import type { LocalInvocationResult } from './definitions.ts'

/** The lines that Lambda writes around an invocation. @see https://docs.aws.amazon.com/lambda/latest/dg/nodejs-logging.html */

export function startLogLine(requestId: string): string {
  return `START RequestId: ${requestId} Version: $LATEST`
}

export function endLogLine(requestId: string): string {
  return `END RequestId: ${requestId}`
}

/** @param memoryMb The function's limit. */
export function reportLine(requestId: string, result: LocalInvocationResult, memoryMb: number): string {
  const { durationMs, initMs, maxMemoryMb } = result
  const parts = [
    `REPORT RequestId: ${requestId}`,
    `Duration: ${durationMs.toFixed(2)} ms`,
    `Billed Duration: ${Math.ceil(durationMs + (initMs ?? 0))} ms`,
    `Memory Size: ${memoryMb} MB`,
    `Max Memory Used: ${maxMemoryMb} MB`,
  ]
  if (initMs !== undefined) parts.push(`Init Duration: ${initMs.toFixed(2)} ms`)
  return parts.join('\t')
}
