export type { RedisStreamAlarmOptions, RedisStreamConsumerProps, RedisStreamEventSourceProps } from './props.ts'
export { type RedisStreamAlarms, RedisStreamConsumer } from './redis-stream-consumer.ts'
export { RedisStreamEventSource } from './redis-stream-event-source.ts'
export {
  RedisStreamJanitor,
  type RedisStreamJanitorAlarms,
  type RedisStreamJanitorProps,
} from './redis-stream-janitor.ts'
