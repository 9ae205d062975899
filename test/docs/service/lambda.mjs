// The functions as a Lambda has them.
import { createService } from './functions.ts'

const { REDIS_URL, OPTIONS = '{}' } = process.env

export const { poller, claimer } = createService(REDIS_URL, JSON.parse(OPTIONS))
export const notify = () => {}
