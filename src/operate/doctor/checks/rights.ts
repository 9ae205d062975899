import { needsOf } from '../../../define/policy-needs.ts'
import { quoted } from '../../../errors.ts'
import { check } from '../check.ts'
import { error, unknown } from '../finding.ts'

/** A policy that is denied what it asks ends every run. */
export const rights = check({
  check: 'rights',
  scope: 'group',
  needs: ['lacking'],
  isFor: ({ consumer }) => consumer !== undefined && needsOf(consumer).length > 0,
  look({ lacking }) {
    if (!lacking)
      return [
        unknown(
          'Redis before 7.0 does not report which commands of policies are denied',
          'compare millrace plan --acl',
        ),
      ]
    return [...new Set(lacking.map(({ policy }) => policy))].map((policy) => {
      const those = lacking.filter((one) => one.policy === policy)
      const names = those.map(({ command, key }) => `${command.toUpperCase().replace('|', ' ')} on ${quoted(key)}`)
      return error(
        `Policy ${quoted(policy)} needs what this user may not do: ${names.join(', ')}`,
        "give the functions' users what millrace plan --acl prints; if this is not one of them, look with theirs",
      )
    })
  },
})
