import type { ObservedInvocation, ObservedRun } from '../../define/observe.ts'
import type { MetricDimensions, MetricValues } from './metric-line.ts'
import { MetricLine } from './metric-line.ts'

/** The lines of the invocations that are under way: they may overlap in one process. */
export class MetricLines {
  readonly #byInvocation = new WeakMap<ObservedInvocation, Lines>()

  of(invocation: ObservedInvocation): Lines {
    const known = this.#byInvocation.get(invocation)
    if (known) return known
    const made = new Lines(invocation)
    this.#byInvocation.set(invocation, made)
    return made
  }

  /** What is known of an event type is known of the consumer, too. @param EventType `''`: of none. */
  add({ invocation, stream, group }: ObservedRun, EventType: string, values: MetricValues): void {
    const own = this.of(invocation)
    own.of(stream, group).add(values)
    if (EventType) own.of(stream, group, 'EventType', EventType).add(values)
  }

  /** Every line of an invocation, which is forgotten. */
  take(invocation: ObservedInvocation): readonly MetricLine[] {
    const own = this.#byInvocation.get(invocation)
    this.#byInvocation.delete(invocation)
    return own?.all ?? []
  }
}

/** Lines by their dimensions, in the order in which they were first asked for. Asked for at every call: maps of maps take no time to make a key. */
class Lines {
  readonly all: MetricLine[] = []
  /** Of a group: the sets of its streams. */
  readonly #sets: ReadonlyMap<string, ReadonlyMap<string, string>>
  readonly #byStream = new Map<string, Map<string, Map<string, Map<string, MetricLine>>>>()

  constructor({ consumers }: ObservedInvocation) {
    const inSets = consumers.flatMap(({ stream, group, set }) => (set === undefined ? [] : { stream, group, set }))
    const byGroup = Map.groupBy(inSets, ({ group }) => group)
    this.#sets = new Map(
      [...byGroup].map(([group, all]) => [group, new Map(all.map(({ stream, set }) => [stream, set]))]),
    )
  }

  /**
   * The streams of a set share its name.
   *
   * @param name Of the third dimension. Left out: there is none.
   * @param more Further dimensions, of the same line whenever its third dimension is the same.
   */
  of(key: string, group: string, name = '', value = '', more: MetricDimensions = {}): MetricLine {
    const stream = this.#sets.get(group)?.get(key) ?? key
    const byGroup = within(this.#byStream, stream)
    const byValue = within(within(byGroup, group), name)
    const known = byValue.get(value)
    if (known) return known
    const line = new MetricLine({ EventSource: stream, ConsumerGroup: group, ...(name && { [name]: value }), ...more })
    byValue.set(value, line)
    this.all.push(line)
    return line
  }
}

function within<Value>(maps: Map<string, Map<string, Value>>, key: string): Map<string, Value> {
  const known = maps.get(key)
  if (known) return known
  const made = new Map<string, Value>()
  maps.set(key, made)
  return made
}
