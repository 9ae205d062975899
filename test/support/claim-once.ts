import { type ClaimOptions, type Consumer, claim, type Report } from 'millrace'

/** One run of a claimer that does not wait for what is due next. */
export function claimOnce(consumers: Consumer | readonly Consumer[], options: ClaimOptions): Promise<Report> {
  return claim(consumers, { lingerMs: 0, ...options })
}
