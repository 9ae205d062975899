/** A job's function that the poller knows nothing of: it is named by `configure`, and may belong to any service. */
export async function handler({ input }: { readonly input: string }): Promise<{ readonly slug: string }> {
  return {
    slug:
      input
        .toLowerCase()
        .match(/[a-z\d]+/g)
        ?.join('-') ?? '',
  }
}
