/** Whether what an object says is its own members, in whatever realm it was made: of a Map or an array nothing would be read, or what nobody means. */
export function isPlainObject(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || Object.getPrototypeOf(prototype) === null
}
