import { consumerKeys } from '../../../core/keys.ts'
import { count, span } from '../../../core/words.ts'
import { quoted } from '../../../errors.ts'
import { check } from '../check.ts'
import { error, warning } from '../finding.ts'
import { word } from '../text.ts'

/** What was set aside waits for somebody to inspect it. */
export const deadLetters = check({
  check: 'dead-letters',
  scope: 'group',
  needs: ['deadLetters'],
  look({ deadLetters }, { now, keys, stream, group }) {
    const key = keys?.deadLetters ?? ''
    if (deadLetters === 'another type')
      return [
        error(
          `Key ${quoted(key)} holds no stream: dead letters are refused`,
          `remove it (DEL ${word(key)}), or set deadLetters.stream`,
        ),
      ]
    if (deadLetters === 'missing' || deadLetters.firstId === undefined) return []
    const { length, firstId, lastId = firstId } = deadLetters
    const age = (id: string) => span(Math.max(0, now - Number.parseInt(id, 10)))
    const elsewhere = key === consumerKeys(stream, group).deadLetters ? '' : ` --dead-letters ${word(key)}`
    return [
      warning(
        `${count(length, 'dead letter')} in ${quoted(key)}, the oldest ${age(firstId)} old, the newest ${age(lastId)} old`,
        `millrace dlq ls --stream ${word(stream)} --group ${word(group)}${elsewhere}; then redrive or drop them`,
      ),
    ]
  },
})
