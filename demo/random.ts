export type { Random } from '../functions/shared/random.ts'
export { createRandom } from '../functions/shared/random.ts'
