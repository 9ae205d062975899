import type { InvokeCommandOutput, LambdaClient } from '@aws-sdk/client-lambda'
import type { FunctionTarget } from './function-target.ts'
import type { InvokeHttpAgents } from './invoke-http-agents.ts'

/** One client an execution environment. */
let calling: { readonly client: LambdaClient; readonly agents: InvokeHttpAgents } | undefined

/** How one call of a function is made. */
export interface InvokeOptions {
  readonly signal: AbortSignal
  /** Of the invocation that calls. */
  readonly requestId: string
  /** Called once the request is on its way to Lambda: what fails before that has begun nothing. */
  readonly onSent: () => void
}

/**
 * Has Lambda run a function now, once, and waits for its answer, also if that says that the function failed. Nothing is sent twice: that an
 * answer was lost does not show whether the function ran. The client is loaded by the first call, as `invokeLater` does it.
 *
 * @param request JSON.
 * @throws {Error} Lambda refused, could not be asked, or did not answer.
 */
export async function invokeNow(
  { name, qualifier }: FunctionTarget,
  request: string,
  { signal, requestId, onSent }: InvokeOptions,
): Promise<InvokeCommandOutput> {
  const [{ InvokeCommand, LambdaClient }, { InvokeHttpAgents }] = await Promise.all([
    import('@aws-sdk/client-lambda'),
    import('./invoke-http-agents.ts'),
  ])
  if (!calling) {
    const agents = new InvokeHttpAgents()
    const { httpAgent, httpsAgent } = agents
    calling = { client: new LambdaClient({ maxAttempts: 1, requestHandler: { httpAgent, httpsAgent } }), agents }
  }
  calling.agents.useFor(requestId)
  const command = new InvokeCommand({
    FunctionName: name,
    InvocationType: 'RequestResponse',
    Payload: Buffer.from(request),
    ...(qualifier !== undefined && { Qualifier: qualifier }),
  })
  command.middlewareStack.add(
    (next) => (args) => {
      onSent()
      return next(args)
    },
    { step: 'deserialize', priority: 'low' },
  )
  return calling.client.send(command, { abortSignal: signal })
}
