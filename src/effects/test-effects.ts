import type { EffectsOfCall } from './effects-of-call.ts'

const CONTEXTS = new WeakMap<object, EffectsOfCall>()

/** Has `effects` take a context that no run made. */
export function keepTestEffects(context: object, effects: EffectsOfCall): void {
  CONTEXTS.set(context, effects)
}

export function findTestEffects(context: object): EffectsOfCall | undefined {
  return CONTEXTS.get(context)
}
