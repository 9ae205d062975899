import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { RegoEngine, TemplateFile } from '@aws/cloudformation-validate'

/** A function that names its role among what it depends on, though it refers to it: the CDK and osls make them all so. */
const ALLOWED = ['W3005']

/** What AWS's own validator finds wrong with a template: `ERROR E3002 LogicalId`, or a warning. */
export function validateTemplate(template: object): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-template-'))
  const file = join(folder, 'template.json')
  const engine = new RegoEngine()
  try {
    writeFileSync(file, JSON.stringify(template))
    const { diagnostics } = engine.validateStandard(new TemplateFile(file))
    return diagnostics
      .filter(({ severity, ruleId }) => severity !== 'INFO' && !ALLOWED.includes(ruleId))
      .map(({ severity, ruleId, entity }) => `${severity} ${ruleId} ${entity?.logicalId}`)
  } finally {
    engine.free()
    rmSync(folder, { recursive: true, force: true })
  }
}
