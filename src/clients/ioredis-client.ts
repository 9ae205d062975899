/** What is used of an ioredis client, version 5 or 6, `Redis` or `Cluster`. */
export interface IoredisClient {
  pipeline(): IoredisPipeline
  disconnect(): void
  /** The socket, once there is one; a `Cluster` has several and shows none. */
  readonly stream?: { destroy(): unknown; readonly writable?: boolean } | undefined
  readonly options?: object
  readonly status?: string
  readonly isCluster?: boolean
  connect?(): Promise<unknown>
  /** Of a `Cluster`. */
  nodes?(): readonly { readonly options?: object }[]
  on(event: string, listener: (error: Error) => void): unknown
  removeListener?(event: string, listener: (error: Error) => void): unknown
}

/** What is used of an ioredis pipeline. */
export interface IoredisPipeline {
  callBuffer(command: string, args: (string | Buffer | number)[]): unknown
  exec(): Promise<[error: Error | null, result: unknown][] | null>
}
