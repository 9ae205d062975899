import { OUTCOME_KINDS } from '../../../core/outcome.ts'
import { RedisReplyError } from '../../../errors.ts'
import type { Settlement, SettleResult } from '../../group.ts'
import { Tally } from '../../tally.ts'
import { replyItems } from '../commands/reply.ts'
import { SETTLE_SCRIPT_ANSWERS } from '../scripts/settle.ts'
import { isUnanswered } from '../sender.ts'
import type { ReplyOrConnectionError } from '../transport.ts'

/** Ids that one XACK takes in a script: a stack of Lua holds no more than some thousands. */
const MOST_RIDING = 1_000

/** Where an answer of the script that reads says how many of the ids were pending. */
const ACKED_AT = 3

/** Whether what is settled may be acknowledged by the read that follows: it was in no lane, and nothing joins it. */
export function mayRide(settlements: readonly Settlement[]): boolean {
  return settlements.length <= MOST_RIDING && settlements.every(isRider)
}

function isRider({ outcome: { kind }, isTaken }: Settlement): boolean {
  const { op } = OUTCOME_KINDS[kind]
  return !isTaken && (op === 'ack' || op === 'ignore')
}

/** What a read answered for the acknowledgements that rode with it. @param answers Of the script that acknowledges, and of what reads behind it, which alone may be what was not answered. */
export function withAcks(
  settled: SettleResult,
  acks: readonly Settlement[],
  answers: readonly ReplyOrConnectionError[],
): SettleResult {
  const [answer = null] = answers
  const tally = new Tally()
  if (isUnanswered(answer)) tally.unanswered(acks)
  else if (answer instanceof RedisReplyError) tally.refused(acks.length, answer)
  else count(tally, acks, Number(replyItems(answer)[ACKED_AT]))
  const told = tally.result(answers.find(isUnanswered))
  return { ...told, failures: [...settled.failures, ...told.failures] }
}

/** @param pending How many of them were pending; -1: the slot went to another. */
function count(tally: Tally, acks: readonly Settlement[], pending: number): void {
  const ignored = acks.filter(({ outcome }) => outcome.kind === 'ignore').length
  if (pending < 0) for (const one of acks) tally.settled(one, SETTLE_SCRIPT_ANSWERS.leaseLost)
  else {
    tally.ignored(ignored)
    tally.acked(acks.length - ignored, Math.max(0, pending - ignored))
  }
}
