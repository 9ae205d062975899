export type { ReadS3ArchiveOptions, S3ArchiveOptions } from './s3-archive.ts'
export { readS3Archive, s3Archive } from './s3-archive.ts'
export type { S3StoreOptions } from './s3-store.ts'
export { s3Store } from './s3-store.ts'
