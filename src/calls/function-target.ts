import { assertText, wrongUseError } from '../core/options.ts'
import { quotedValue } from '../errors.ts'

/** Which function, and which version of it. */
export interface FunctionTarget {
  /** A name or an ARN, whole or partial; may carry the qualifier. */
  readonly name: string
  readonly qualifier: string | undefined
}

const NAME = /^(?:(?:arn:[^:\s]+:lambda:[^:\s]+:)?\d{12}:(?:function:)?)?[\w.-]+(:[\w$.-]+)?$/
const QUALIFIER = /^[\w$.-]+$/

/**
 * @throws {TypeError} Neither a name nor an ARN, or two qualifiers.
 * @see https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html
 */
export function parseFunctionTarget(action: string, name: string, qualifier: string | undefined): FunctionTarget {
  assertText(action, 'name', name)
  const [isName, own] = NAME.exec(name) ?? []
  if (isName === undefined)
    throw wrongUseError(action, `name must be a function's name or ARN, got ${quotedValue(name)}`)
  if (qualifier === undefined) return { name, qualifier }
  assertText(action, 'qualifier', qualifier)
  if (!QUALIFIER.test(qualifier))
    throw wrongUseError(action, `qualifier must be a version or an alias, got ${quotedValue(qualifier)}`)
  if (own !== undefined)
    throw wrongUseError(action, `name and qualifier must not both say a version, got ${name} and ${qualifier}`)
  return { name, qualifier }
}
