/** What only CloudFormation knows: `{ Ref: … }`, `{ 'Fn::GetAtt': … }` and the like. */
export function isTemplateReference(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) return false
  const keys = Object.keys(value)
  return keys.length === 1 && /^(Ref|Fn::\w+)$/.test(keys[0] as string)
}

/** Parts of a text, one after the other: a string, or `Fn::Join` where references are among them. */
export function joinTemplateText(...parts: readonly unknown[]): unknown {
  const merged: unknown[] = []
  for (const part of parts) {
    if (typeof part === 'string' && typeof merged.at(-1) === 'string') merged.push(`${merged.pop()}${part}`)
    else merged.push(part)
  }
  if (merged.length === 0) return ''
  return merged.length === 1 && typeof merged[0] === 'string' ? merged[0] : { 'Fn::Join': ['', merged] }
}

/** A document as JSON text. References may stand in it where strings belong: what they stand for must need no escape in JSON. */
export function joinTemplateJson(document: unknown): unknown {
  const references: unknown[] = []
  // a NUL can be in no name of AWS's, and JSON writes it as \u0000
  const text = JSON.stringify(document, (_key, value: unknown) =>
    isTemplateReference(value) ? `\0${references.push(value) - 1}\0` : value,
  )
  return joinTemplateText(
    ...text.split(/\\u0000(\d+)\\u0000/).map((part, at) => (at % 2 ? references[Number(part)] : part)),
  )
}
