import { count } from '../../../core/words.ts'
import { CLAIMER_SLOTS } from '../../../group/consumer-names.ts'
import { check } from '../check.ts'
import { info, warning } from '../finding.ts'

/** A poller that finds no slot reads nothing. */
export const slots = check({
  check: 'slots',
  scope: 'group',
  needs: ['pollers', 'beyond', 'claimers'],
  look({ pollers, beyond, claimers }, { consumer, pollers: woken }) {
    if (!consumer) return []
    const { maxPollers } = consumer.settings
    const verdicts = []
    if (woken !== undefined && woken > maxPollers)
      verdicts.push(
        warning(
          `${count(woken, 'poller')} are woken at once, and there are ${count(maxPollers, 'slot')}`,
          `set maxPollers to ${woken}`,
        ),
      )
    if (beyond > 0)
      verdicts.push(
        warning(
          `${count(beyond, 'lease is', 'leases are')} held under poller names beyond maxPollers, ${maxPollers}: a poller with a higher maxPollers runs`,
          'give every deployment of the consumer the same maxPollers',
        ),
      )
    if (pollers >= maxPollers)
      verdicts.push(
        info(
          `All of ${count(maxPollers, 'slot')} are taken: a further poller reads nothing`,
          'set maxPollers higher if it is to read',
        ),
      )
    if (claimers >= CLAIMER_SLOTS)
      verdicts.push(
        info(
          `All of ${count(CLAIMER_SLOTS, 'claimer slot')} are taken: a further claimer does nothing`,
          'one schedule for the claimer is enough; a killed one frees its slot at its own deadline',
        ),
      )
    return verdicts
  },
})
