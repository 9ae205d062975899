// Loaded ahead of the functions: what the services announce to each other goes into a stream of the test's, which hands it on twice and in another sequence.
import { registerHooks } from 'node:module'

registerHooks({
  resolve(specifier, context, next) {
    const isPublisher = specifier === './publisher.ts' && context.parentURL?.includes('/functions/checkout/')
    return isPublisher ? next(new URL('./held-publisher.ts', import.meta.url).href, context) : next(specifier, context)
  },
})
