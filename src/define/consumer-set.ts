import type { Consumer, ConsumerSet } from './consumer.ts'

/** Consumers, those of sets one after the other. What is none is left to whoever checks them. */
export function listConsumers(given: Consumer | readonly (Consumer | ConsumerSet)[]): readonly Consumer[] {
  return [given].flat(2) as readonly Consumer[]
}
