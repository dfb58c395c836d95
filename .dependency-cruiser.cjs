/** The one direction of dependency between the folders; see docs/ARCHITECTURE.md. */
const allowed = {
  auth: [],
  wal: [],
  transport: ['wal'],
  s3db: ['auth', 'wal', 'transport'],
  backend: ['s3db', 'transport'],
  s3: ['auth', 'backend'],
};
const folders = Object.keys(allowed).concat('cmd', 'tests');

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    {
      name: 'no-orphans',
      severity: 'error',
      from: { orphan: true, pathNot: ['\\.test\\.ts$', '\\.d\\.ts$', '^[^/]+\\.config\\.ts$', '^tests/'] },
      to: {},
    },
    {
      name: 'no-dev-dependencies',
      severity: 'error',
      from: { path: '^(cmd|s3|auth|backend|s3db|transport|wal)/', pathNot: '\\.test\\.ts$|/testing/' },
      to: { dependencyTypes: ['npm-dev'], pathNot: 'node_modules/@types' },
    },
    {
      name: 'no-tests-from-code',
      severity: 'error',
      from: {
        path: '^(cmd|s3|auth|backend|s3db|transport|wal)/',
        pathNot: '\\.test\\.ts$|/testing/|/bench/',
      },
      to: { path: '\\.test\\.ts$|^tests/|/testing/' },
    },
    ...Object.entries(allowed).map(([folder, may]) => ({
      name: `${folder}-imports`,
      comment: `${folder}/ may import only: ${may.join(', ') || 'nothing of ours'}`,
      severity: 'error',
      from: { path: `^${folder}/`, pathNot: '\\.test\\.ts$' },
      to: { path: `^(${folders.filter((f) => f !== folder && !may.includes(f)).join('|')})/` },
    })),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '(^|/)(dist|data|assembly)/' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
    },
  },
};
