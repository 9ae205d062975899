import { afterAll, vi } from 'vitest'

// the fast tier runs without isolation: a module that read another file's environment would decide what this file sees
vi.resetModules()

const environment = { ...process.env }
afterAll(() => {
  for (const name of Object.keys(process.env)) if (!(name in environment)) delete process.env[name]
  Object.assign(process.env, environment)
})
