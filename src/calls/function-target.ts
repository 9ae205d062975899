import { cannot, text } from '../core/options.ts'
import { quoted } from '../errors.ts'

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
export function functionTarget(action: string, name: string, qualifier: string | undefined): FunctionTarget {
  text(action, 'name', name)
  const [isName, own] = NAME.exec(name) ?? []
  if (isName === undefined) throw cannot(action, `name must be a function's name or ARN, got ${quoted(name)}`)
  if (qualifier === undefined) return { name, qualifier }
  text(action, 'qualifier', qualifier)
  if (!QUALIFIER.test(qualifier))
    throw cannot(action, `qualifier must be a version or an alias, got ${quoted(qualifier)}`)
  if (own !== undefined)
    throw cannot(action, `name and qualifier must not both say a version, got ${name} and ${qualifier}`)
  return { name, qualifier }
}
