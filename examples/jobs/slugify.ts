/** Does jobs of a type that the poller does not know: whoever configures the type names it. It may be of any service. */
export async function handler({ input }: { readonly input: string }) {
  return { slug: input.toLowerCase().replace(/[^a-z\d]+/g, '-') }
}
