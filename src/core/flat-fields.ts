import type { FlatMembers } from './flat-members.ts'

/** The option that names the field of a text, in the order in which they are written. */
export const TEXT_OPTIONS = {
  eventId: 'idField',
  aggregateType: 'aggregateTypeField',
  aggregateId: 'aggregateIdField',
  tenantId: 'tenantIdField',
  producer: 'producerField',
  occurredAt: 'occurredAtField',
  traceparent: 'traceIdField',
} as const
/** A text of an event that a field may hold. */
export type TextName = keyof typeof TEXT_OPTIONS
export const TEXT_NAMES = Object.keys(TEXT_OPTIONS) as TextName[]

/** Which fields say what, once checked. */
export interface Flat {
  readonly type: string | undefined
  readonly typeField: string | undefined
  readonly versionField: string | undefined
  readonly textFields: { readonly [Name in TextName]: string | undefined }
  /** Fields that are no part of the payload. */
  readonly apart: ReadonlySet<string>
  readonly members: FlatMembers
}
