/** A CloudFormation resource as plain data, its properties spelled as CloudFormation spells them. */
export interface Resource {
  readonly id: string
  readonly type: string
  readonly properties: Readonly<Record<string, unknown>>
}

/** A Lambda function that somebody else declares. */
export interface FunctionTarget {
  /** What the ids of its resources start with, as in `OrdersPoller`. */
  readonly id: string
  /** Its physical name, or a reference to it. */
  readonly name: unknown
  readonly arn: unknown
}
