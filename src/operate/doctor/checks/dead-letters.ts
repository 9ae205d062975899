import { consumerKeys } from '../../../core/keys.ts'
import { formatCount, formatDurationRoughly } from '../../../core/words.ts'
import { quotedValue } from '../../../errors.ts'
import { defineCheck } from '../check.ts'
import { errorResult, warningResult } from '../finding.ts'
import { quoteForShell } from '../text.ts'

/** What was set aside waits for somebody to inspect it. */
export const deadLettersCheck = defineCheck({
  check: 'dead-letters',
  scope: 'group',
  needs: ['deadLetters'],
  look({ deadLetters }, { now, keys, stream, group }) {
    const key = keys?.deadLetters ?? ''
    if (deadLetters === 'another type')
      return [
        errorResult(
          `Key ${quotedValue(key)} holds no stream: dead letters are refused`,
          `remove it (DEL ${quoteForShell(key)}), or set deadLetters.stream`,
        ),
      ]
    if (deadLetters === 'missing' || deadLetters.firstId === undefined) return []
    const { length, firstId, lastId = firstId } = deadLetters
    const age = (id: string) => formatDurationRoughly(Math.max(0, now - Number.parseInt(id, 10)))
    const elsewhere = key === consumerKeys(stream, group).deadLetters ? '' : ` --dead-letters ${quoteForShell(key)}`
    return [
      warningResult(
        `${formatCount(length, 'dead letter')} in ${quotedValue(key)}, the oldest ${age(firstId)} old, the newest ${age(lastId)} old`,
        `millrace dlq ls --stream ${quoteForShell(stream)} --group ${quoteForShell(group)}${elsewhere}; then redrive or drop them`,
      ),
    ]
  },
})
