/** So many are told apart in one process: each is a metric that CloudWatch charges for. */
const MOST_NAMES = 20
/** What CloudWatch takes as a dimension's value, and a reader for a name. */
const PLAIN_NAME = /^[\w.$:-]{1,100}$/

/** Names of what handlers fail with, as values of a dimension; `Other` for those beyond the bound, and for what is no name. */
export class ErrorNames {
  readonly #known = new Set<string>()

  of(error: unknown): string {
    const name = nameOf(error)
    if (this.#known.has(name)) return name
    if (this.#known.size >= MOST_NAMES || !PLAIN_NAME.test(name)) return 'Other'
    this.#known.add(name)
    return name
  }
}

/** As a dead letter has it, without the stack, which takes long to write. */
function nameOf(error: unknown): string {
  try {
    const { name, message } = (error ?? {}) as Record<string, unknown>
    return typeof message === 'string' ? String(name ?? 'Error') : typeof error
  } catch {
    return typeof error
  }
}
