import { Token } from 'aws-cdk-lib'
import type { IEventSource, IFunction } from 'aws-cdk-lib/aws-lambda'
import type { RedisStreamEventSourceProps } from './props.ts'
import { RedisStreamConsumer } from './redis-stream-consumer.ts'

/**
 * A Redis stream as an event source of the function that polls it: `poller.addEventSource(new RedisStreamEventSource({ … }))`.
 *
 * The function has to be a poller, made by `createPoller` of `millrace`; it is woken by schedules and reads the stream itself.
 */
export class RedisStreamEventSource implements IEventSource {
  readonly #props: RedisStreamEventSourceProps
  #consumer: RedisStreamConsumer | undefined

  constructor(props: RedisStreamEventSourceProps) {
    this.#props = props
  }

  /**
   * What the event source made: its alarms and its dashboard are members.
   *
   * @throws {TypeError} The event source was not added to a function yet.
   */
  get consumer(): RedisStreamConsumer {
    if (this.#consumer === undefined)
      throw new TypeError('consumer cannot be read before addEventSource(), got an event source that is not bound yet')
    return this.#consumer
  }

  /** @throws {TypeError | RangeError} A prop that cannot be deployed; the message says the rule and the value. */
  bind(target: IFunction): void {
    this.#consumer = new RedisStreamConsumer(target, idOf(target, this.#props), { ...this.#props, poller: target })
  }
}

/** A name that does not move when another consumer is added, so that its resources are not made anew. */
function idOf(target: IFunction, { stream, group }: RedisStreamEventSourceProps): string {
  if (!Token.isUnresolved(`${stream}${group}`)) {
    // a slash would end the construct's name
    return `RedisStream:${stream}:${group}`.replaceAll('/', '-')
  }
  const taken = target.node.children.filter(({ node }) => node.id.startsWith('RedisStream:token:')).length
  return `RedisStream:token:${taken + 1}`
}
