import type { IamStatement } from '../resources.ts'
import type { ServerlessProvider } from './serverless.ts'

/** What a service says of the role that osls makes for all its functions: properties, and statements. */
interface ProviderRole {
  readonly properties: Readonly<Record<string, unknown>>
  readonly statements: readonly IamStatement[]
}

/** `provider.iam.role`, and the older names that osls still reads. Its name is left out: no two roles can have it. */
export function sharedRoleOf(provider: ServerlessProvider): ProviderRole {
  const { iam, iamRoleStatements, iamManagedPolicies, rolePermissionsBoundary } = provider
  const role = typeof iam?.role === 'object' ? iam.role : {}
  const boundary = role.permissionsBoundary ?? role.permissionBoundary ?? rolePermissionsBoundary
  const managed = role.managedPolicies ?? iamManagedPolicies
  return {
    properties: {
      ...(role.path && { Path: role.path }),
      ...(boundary !== undefined && { PermissionsBoundary: boundary }),
      ...(managed && { ManagedPolicyArns: managed }),
      ...(role.tags && { Tags: Object.entries(role.tags).map(([Key, Value]) => ({ Key, Value })) }),
    },
    statements: role.statements ?? iamRoleStatements ?? [],
  }
}
