import { listPolicyKeyNeeds } from '../../../define/policy-needs.ts'
import { quotedValue } from '../../../errors.ts'
import { defineCheck } from '../check.ts'
import { errorResult, unknownResult } from '../finding.ts'

/** A policy that is denied what it asks ends every run. */
export const policyRightsCheck = defineCheck({
  check: 'rights',
  scope: 'group',
  needs: ['lacking'],
  isFor: ({ consumer }) => consumer !== undefined && listPolicyKeyNeeds(consumer).length > 0,
  look({ lacking }) {
    if (!lacking)
      return [
        unknownResult(
          'Redis before 7.0 does not report which commands of policies are denied',
          'compare millrace plan --acl',
        ),
      ]
    return [...new Set(lacking.map(({ policy }) => policy))].map((policy) => {
      const those = lacking.filter((one) => one.policy === policy)
      const names = those.map(({ command, key }) => `${command.toUpperCase().replace('|', ' ')} on ${quotedValue(key)}`)
      return errorResult(
        `Policy ${quotedValue(policy)} needs what this user may not do: ${names.join(', ')}`,
        "give the functions' users what millrace plan --acl prints; if this is not one of them, look with theirs",
      )
    })
  },
})
