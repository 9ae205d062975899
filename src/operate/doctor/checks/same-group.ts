import { defineCheck } from '../check.ts'
import { errorResult, warningResult } from '../finding.ts'
import { listFirstNames } from '../text.ts'

/** A group belongs to one consumer: entries go to whichever reads them, and a poller refuses two of one group. */
export const sameGroupCheck = defineCheck({
  check: 'same-group',
  scope: 'group',
  needs: [],
  look(_facts, { sameGroup }) {
    if (sameGroup.length < 2) return []
    const what = `${sameGroup.length} consumers were given for this group, and each entry goes to whichever reads it`
    const types = new Set(sameGroup.flatMap(({ routes }) => [...routes.keys()]))
    const missing = [...types].filter((type) => !sameGroup.every(({ routes }) => routes.has(type)))
    if (missing.length === 0)
      return [
        warningResult(
          `${what}: its handler and settings are those of either`,
          'keep one of them, or give each a group of its own',
        ),
      ]
    return [
      errorResult(
        `${what}: not all of them have a route for ${listFirstNames(missing)}, which is unrouted where one of the others reads it`,
        'give one consumer the routes of all, or each a group of its own',
      ),
    ]
  },
})
