/** Jupyter's packages ship ES modules: they are compiled on the way in, as our own TypeScript is. */
const compiled = ['@jupyter', '@jupyterlab', '@lumino', '@microsoft', 'exenv-es6', 'lib0', 'nanoid', 'y-protocols', 'yjs'];

module.exports = {
  testEnvironment: 'jsdom',
  testMatch: ['<rootDir>/test/**/*.spec.{ts,tsx}'],
  setupFiles: ['<rootDir>/test/setup.cjs'],
  transform: {
    '\\.(m?js|tsx?)$': [
      '@swc/jest',
      {
        jsc: { parser: { syntax: 'typescript', tsx: true } },
        // Jupyter's modules import each other in circles: var is there in time where const is not.
        env: { targets: 'node 20', include: ['transform-block-scoping'] },
        module: { type: 'commonjs' }
      }
    ]
  },
  transformIgnorePatterns: [`/node_modules/(?!(${compiled.join('|')})/)`],
  moduleNameMapper: { '\\.(css|svg)$': '<rootDir>/test/style.cjs' }
};
