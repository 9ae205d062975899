import { formatCount } from '../../../core/words.ts'
import { CLAIMER_SLOT_COUNT } from '../../../group/consumer-names.ts'
import { orderedConsumerOf } from '../../inspect/ordered-consumer.ts'
import { defineCheck } from '../check.ts'
import { infoResult, warningResult } from '../finding.ts'

/** A poller that finds no slot reads nothing. */
export const slotsCheck = defineCheck({
  check: 'slots',
  scope: 'group',
  needs: ['pollers', 'beyond', 'claimers'],
  look({ pollers, beyond, claimers }, { consumer, pollers: woken }) {
    if (!consumer) return []
    const { maxPollers } = consumer.settings
    const verdicts = []
    const isOrdered = orderedConsumerOf(consumer) !== undefined
    if (isOrdered && woken !== undefined && woken > 1)
      verdicts.push(
        warningResult(
          `${formatCount(woken, 'poller')} are woken at once, and a stream in order has one at a time: the others do nothing`,
          'leave one schedule, and one event that wakes the poller',
        ),
      )
    else if (woken !== undefined && woken > maxPollers)
      verdicts.push(
        warningResult(
          `${formatCount(woken, 'poller')} are woken at once, and there are ${formatCount(maxPollers, 'slot')}`,
          `set maxPollers to ${woken}`,
        ),
      )
    if (beyond > 0)
      verdicts.push(
        warningResult(
          `${formatCount(beyond, 'lease is', 'leases are')} held under poller names beyond maxPollers, ${maxPollers}: a poller with a higher maxPollers runs${isOrdered ? ', which keeps no order' : ''}`,
          isOrdered
            ? 'deploy the consumer with orderedBy, and without maxPollers, everywhere'
            : 'give every deployment of the consumer the same maxPollers',
        ),
      )
    // of a stream in order that is so whenever it is read
    if (pollers >= maxPollers && !isOrdered)
      verdicts.push(
        infoResult(
          `All of ${formatCount(maxPollers, 'slot')} are taken: a further poller reads nothing`,
          'set maxPollers higher if it is to read',
        ),
      )
    if (claimers >= CLAIMER_SLOT_COUNT)
      verdicts.push(
        infoResult(
          `All of ${formatCount(CLAIMER_SLOT_COUNT, 'claimer slot')} are taken: a further claimer does nothing`,
          'one schedule for the claimer is enough; a killed one frees its slot at its own deadline',
        ),
      )
    return verdicts
  },
})
