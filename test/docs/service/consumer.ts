// The module that the runbook's commands name: group `billing` on stream `orders`.
import { billing as define } from '../../support/consumer.ts'

export const billing = define(() => {}, { maxPending: 1_000, maxParked: 1_000 })
