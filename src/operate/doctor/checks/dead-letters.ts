import { consumerKeys, isInOtherSlot } from '../../../core/keys.ts'
import { formatCount, formatDurationRoughly, formatNumber } from '../../../core/words.ts'
import { quotedValue } from '../../../errors.ts'
import { type CheckSubject, defineCheck } from '../check.ts'
import { type CheckResult, errorResult, infoResult, warningResult } from '../finding.ts'
import { quoteForShell } from '../text.ts'

/** How full a dead-letter stream may be; the alarm of a deployment goes off there, too. */
const FULL_PERCENT = 80

/** What was set aside waits for somebody to inspect it. */
export const deadLettersCheck = defineCheck({
  check: 'dead-letters',
  scope: 'group',
  needs: ['deadLetters', 'lettersTrimmed'],
  look({ deadLetters, lettersTrimmed }, subject) {
    const { now, keys, stream, group } = subject
    const key = keys?.deadLetters ?? ''
    if (deadLetters === 'another type')
      return [
        errorResult(
          `Key ${quotedValue(key)} holds no stream: dead letters are refused`,
          `remove it (DEL ${quoteForShell(key)}), or set deadLetters.stream`,
        ),
      ]
    const bound = boundResults(deadLetters === 'missing' ? 0 : deadLetters.length, lettersTrimmed, subject)
    if (deadLetters === 'missing' || deadLetters.firstId === undefined) return bound
    const { length, firstId, lastId = firstId } = deadLetters
    const age = (id: string) => formatDurationRoughly(Math.max(0, now - Number.parseInt(id, 10)))
    const elsewhere = key === consumerKeys(stream, group).deadLetters ? '' : ` --dead-letters ${quoteForShell(key)}`
    return [
      warningResult(
        `${formatCount(length, 'dead letter')} in ${quotedValue(key)}, the oldest ${age(firstId)} old, the newest ${age(lastId)} old`,
        `millrace dlq ls --stream ${quoteForShell(stream)} --group ${quoteForShell(group)}${elsewhere}; then redrive or drop them`,
      ),
      ...bound,
    ]
  },
})

/** How near the stream is to the length above which letters go, and how many went. */
function boundResults(length: number, trimmed: number, { consumer }: CheckSubject): CheckResult[] {
  const results: CheckResult[] = []
  const most = consumer?.settings.maxDeadLetters ?? Infinity
  const isFull = 100 * length >= FULL_PERCENT * most
  if (isFull)
    results.push(
      warningResult(
        `The dead-letter stream holds ${formatNumber(length)} of deadLetters.maxLength ${formatNumber(most)}: above it the oldest letters are removed`,
        'redrive or drop letters, or raise deadLetters.maxLength',
      ),
    )
  if (trimmed > 0) {
    const result = isFull ? warningResult : infoResult
    results.push(
      result(
        `${formatCount(trimmed, 'dead letter was', 'dead letters were')} trimmed from the dead-letter stream so far, by its maxLength: nobody can redrive them`,
        'raise deadLetters.maxLength, and redrive or drop letters before it is reached',
      ),
    )
  }
  return results
}

/** Whether the server takes dead letters in another hash slot. */
export const deadLetterSlotCheck = defineCheck({
  check: 'dead-letter-slot',
  scope: 'group',
  needs: ['info'],
  isFor: ({ keys }) => keys !== undefined && isInOtherSlot(keys),
  look({ info }, { keys }) {
    if (info.cluster_enabled !== '1') return []
    return [
      errorResult(
        `The server is a cluster, and deadLetters.stream ${quotedValue(keys?.deadLetters)} lies in another hash slot than the stream: nothing is polled or claimed`,
        "give it the stream's hash tag, and no allowOtherSlot",
      ),
    ]
  },
})
