export type { S3StoreOptions } from './s3-store.ts'
export { s3Store } from './s3-store.ts'
