/** What is known of a template's resources and parameters before there is a stack. */
export interface TemplateKnownValues {
  /** What `Ref` gives, by logical id, parameter or pseudo parameter. */
  readonly refs: ReadonlyMap<string, unknown>
  /** What `Fn::GetAtt` gives, by `id.attribute`. */
  readonly attributes: ReadonlyMap<string, unknown>
}

/**
 * A value of a template with its intrinsic functions resolved. Members of objects that cannot be resolved are left out.
 *
 * @returns `undefined` if it cannot be resolved: it names what only a deployed stack has, or a secret.
 */
export function resolveIntrinsics(value: unknown, scope: TemplateKnownValues): unknown {
  if (typeof value === 'string') return value.includes('{{resolve:') ? undefined : value
  if (Array.isArray(value)) {
    const items = value.map((item) => resolveIntrinsics(item, scope))
    return items.includes(undefined) ? undefined : items
  }
  if (typeof value !== 'object' || value === null) return value
  const [key = '', argument] = Object.entries(value)[0] ?? []
  if (key === 'Ref' || key.startsWith('Fn::')) return INTRINSICS[key]?.(argument, scope)
  const members = Object.entries(value).map(([name, member]) => [name, resolveIntrinsics(member, scope)] as const)
  return Object.fromEntries(members.filter(([, member]) => member !== undefined))
}

type Intrinsic = (argument: unknown, scope: TemplateKnownValues) => unknown

const INTRINSICS: Readonly<Record<string, Intrinsic>> = {
  Ref: (name, { refs }) => refs.get(name as string),
  'Fn::GetAtt': (path, { attributes }) => attributes.get(Array.isArray(path) ? path.join('.') : (path as string)),
  'Fn::Join'(argument, scope) {
    const [separator, list] = argument as [string, unknown]
    const items = resolveIntrinsics(list, scope)
    return Array.isArray(items) ? items.join(separator) : undefined
  },
  'Fn::Sub'(argument, scope) {
    const [text, variables = {}] = (Array.isArray(argument) ? argument : [argument]) as [
      string,
      Record<string, unknown>?,
    ]
    const parts = text.split(/\$\{([^}]+)\}/).map((part, index) => {
      if (index % 2 === 0) return part
      if (part.startsWith('!')) return `\${${part.slice(1)}}`
      if (Object.hasOwn(variables, part)) return resolveIntrinsics(variables[part], scope)
      return scope.refs.get(part) ?? scope.attributes.get(part)
    })
    return resolveIntrinsics(parts.includes(undefined) ? undefined : parts.join(''), scope)
  },
}
