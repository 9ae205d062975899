import { assertKnownOptions } from '../core/options.ts'
import type { OnDeadLetter } from '../define/consumer.ts'
import { parseFunctionTarget } from './function-target.ts'
import { toInvocationRecord } from './invocation-record.ts'
import { invokeLater } from './invoke.ts'

/** Which version of a function is notified. */
export interface NotifyFunctionOptions {
  /** Version or alias. Default: what the name says, else the function as it was deployed last. */
  readonly qualifier?: string
}

/**
 * Notifies a function of every dead letter, as a consumer's `onDeadLetter`: it is invoked asynchronously with an invocation record as AWS writes them for streams, without the
 * payload. Lambda runs it later, and again if it fails; a notice that Lambda does not take is lost, the dead letter is not.
 *
 * The role needs `lambda:InvokeFunction` on the function, with its qualifier if it has one.
 *
 * @param name A name or an ARN, whole or partial, with or without a qualifier.
 * @throws {TypeError} A bad option.
 */
export function notifyFunction(name: string, options: NotifyFunctionOptions = {}): OnDeadLetter {
  const action = 'make notifyFunction'
  assertKnownOptions(action, options, ['qualifier'])
  const { qualifier } = parseFunctionTarget(action, name, options.qualifier)
  const functionName = qualifier === undefined ? name : `${name}:${qualifier}`
  return (notice, { signal }) => invokeLater(functionName, toInvocationRecord(notice, Date.now()), signal)
}
