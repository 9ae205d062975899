/** What is used of a call under way, of the package as it is built. */
interface CallLike {
  readonly jobs: readonly unknown[]
  abort?: (reason: unknown) => void
  start(): unknown
  end(): void
}

/** The prototype of the engine's calls. @throws {Error} It is not where it was: this has to follow. */
export async function callPrototype(): Promise<CallLike> {
  const file = new URL('../../../dist/run/running-call.js', import.meta.url)
  const { RunningCall } = (await import(file.href)) as { readonly RunningCall?: { readonly prototype: CallLike } }
  const { start, end } = RunningCall?.prototype ?? {}
  if (typeof start !== 'function' || typeof end !== 'function')
    throw new Error(`Cannot put a mistake back: ${file.pathname} has no RunningCall with start() and end()`)
  return (RunningCall as { readonly prototype: CallLike }).prototype
}
