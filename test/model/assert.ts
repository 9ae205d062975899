export function assert(holds: boolean, message: string): asserts holds {
  if (!holds) throw new Error(message)
}
