/** Commands that are sent, those within scripts not among them. `test/operate/plan/plan.test.ts` compares them with what a server sees. */
export const COMMANDS_PER_STEP = {
  /** Take a slot, read nothing and give the slot back. */
  idlePoll: 2,
  /** More for a poll that finds something: give the slot back by itself. */
  giveSlot: 1,
  /** A batch more, in `drain`: its acknowledgement, the next read, whether the slot is still ours, and what is paused. */
  drainBatch: 3,
  /** The batch of a poll in `once`: its acknowledgement. */
  onlyBatch: 1,
  /** A second of a poller that listens to nothing: a read that waits, what is looked up with it, what is due, the server's time, and every other second the flag that keeps publishers from waking others. */
  listenSecond: 5,
  /** More for an event that comes alone: the next read, what is looked up with it, and its acknowledgement. */
  listenEvent: 3,
  /** Take a slot and a page; note cursor and mark, inspect the names, measure, give the slot back. */
  idleClaim: 6,
  /** A second of a run that waits for turns of a rate limit: what is near is asked for, and taken. */
  turnSecond: 10,
  /** More for an event that comes back for its turn: its start, its acknowledgement, its place in the index. */
  turnEvent: 3,
  publish: 1,
  /** More for an event whose publisher wakes pollers: raise the flag, and see whose it is; whoever raised it gives it its end, by one more. */
  flag: 2,
} as const

/** Requests of an invocation in which nothing is to be done. */
export const IDLE_ROUND_TRIPS = { idlePoll: 2, idleClaim: 2 } as const
