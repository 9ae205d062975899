import { CLAIMER_SLOTS } from '../../../group/consumer-names.ts'
import { check } from '../check.ts'
import { info, warning } from '../finding.ts'
import { count } from '../text.ts'

/** A poller that finds no slot reads nothing. */
export const slots = check({
  check: 'slots',
  scope: 'group',
  needs: ['pollers', 'beyond', 'claimers'],
  look({ pollers, beyond, claimers }, { consumer, pollers: woken }) {
    if (!consumer) return []
    const { slots } = consumer.settings
    const verdicts = []
    if (woken !== undefined && woken > slots)
      verdicts.push(
        warning(
          `${count(woken, 'poller')} are woken at once, and there are ${count(slots, 'slot')}`,
          `set slots to ${woken}`,
        ),
      )
    if (beyond > 0)
      verdicts.push(
        warning(
          `${count(beyond, 'lease is', 'leases are')} held under poller names beyond slots, ${slots}: a poller with more slots runs`,
          'give every deployment of the consumer the same slots',
        ),
      )
    if (pollers >= slots)
      verdicts.push(
        info(
          `All of ${count(slots, 'slot')} are taken: a further poller reads nothing`,
          'set slots higher if it is to read',
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
