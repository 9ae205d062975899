import type { LambdaClient } from '@aws-sdk/client-lambda'

/** One client an execution environment. */
let client: LambdaClient | undefined

/**
 * Has Lambda run a function later; resolves once Lambda has accepted the event. The client is loaded by the first call: a function that
 * makes none starts without it, and in Lambda it comes with the runtime.
 *
 * @param functionName A name, an ARN, or either with a qualifier.
 * @throws {Error} Lambda refused, or `signal` was aborted.
 */
export async function invokeLater(functionName: string, event: object, signal: AbortSignal): Promise<void> {
  const { InvokeCommand, LambdaClient } = await import('@aws-sdk/client-lambda')
  client ??= new LambdaClient({ maxAttempts: 2 })
  const Payload = Buffer.from(JSON.stringify(event))
  const command = new InvokeCommand({ FunctionName: functionName, InvocationType: 'Event', Payload })
  await client.send(command, { abortSignal: signal })
}
