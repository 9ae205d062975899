import type { Bytes, Field } from '../../core/entry.ts'
import { PARKED_CONSUMER } from '../../core/keys.ts'
import type { Delivery } from '../delivery.ts'
import type { DeliveryFromSetAside } from '../group.ts'
import { replyAsFields, replyItems } from './commands/reply.ts'
import type { RedisReply } from './transport.ts'

/** A delivery as a server answered it: pairs of its fields are made anew each time somebody asks for them, which hardly anybody does. */
export class AnsweredDelivery implements Delivery {
  readonly id: string
  readonly namesAndValues: readonly Bytes[]
  readonly deliveryCount: number
  readonly returnTo: string
  readonly isTaken: boolean | undefined

  /** @param fields What the server answered of them. */
  constructor(
    id: string,
    fields: RedisReply | undefined,
    deliveryCount = 1,
    returnTo = PARKED_CONSUMER,
    isTaken?: true,
  ) {
    this.id = id
    this.namesAndValues = replyItems(fields) as readonly Bytes[]
    this.deliveryCount = deliveryCount
    this.returnTo = returnTo
    this.isTaken = isTaken
  }

  get fields(): readonly Field[] {
    return replyAsFields(this.namesAndValues)
  }
}

/** One of what was set aside. */
export class TakenDelivery extends AnsweredDelivery implements DeliveryFromSetAside {
  readonly idleMs: number
  readonly isOfLane: boolean | undefined

  constructor(id: string, fields: RedisReply, deliveryCount: number, idleMs: number, isOfLane: true | undefined) {
    super(id, fields, deliveryCount, PARKED_CONSUMER, true)
    this.idleMs = idleMs
    this.isOfLane = isOfLane
  }
}
