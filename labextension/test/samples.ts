/** Replies of a gateway, small. */

import type { IBudgetRow, ICatalogColumn, ICatalogReply, IQuoteReply } from '../src/wire';

export function budgetRow(change: Partial<IBudgetRow> = {}): IBudgetRow {
  return {
    prefix: 'demo',
    db_name: 'titanic',
    table_name: 'passengers',
    total_budget: 10,
    residual_budget: 7.5,
    consumed_budget: 2.5,
    recover_cycle: 30,
    exhausted_strategy: 'reject',
    create_time: '2026-01-01 00:00:00',
    last_update_time: '2026-01-01 00:00:00',
    last_recover_time: '2026-01-01 00:00:00',
    slack: 5e-7,
    num_dpcall: 3,
    sum_eps: 2.5,
    sum_del: 0,
    sum_sq_eps: 2,
    sum_exp_eps: 1,
    prod_del: 1,
    analyst: null,
    delta: 1e-6,
    next_recover_time: '2026-01-31 00:00:00',
    lifetime_epsilon: 2.5,
    unmetered_answers: 0,
    suspended: false,
    ...change
  };
}

function column(name: string, type: string, change: Partial<ICatalogColumn> = {}): ICatalogColumn {
  return { name, type, nullable: true, bounds: null, domain: null, description: '', ...change };
}

const table = {
  unit: null,
  keys: [],
  max_rows: 1,
  max_groups: 1,
  min_units: 1,
  open_keys: false,
  description: '',
  synthetic: false
};

export const catalog: ICatalogReply = {
  databases: [
    {
      prefix: 'demo',
      name: 'titanic',
      reader: 'duckdb',
      sha256sum: 'abc',
      unit_entity: 'passenger',
      data_version: '1',
      default_epsilon: 0.9,
      default_mechanism: 'Laplace',
      min_epsilon: 0.01,
      max_epsilon: 5,
      functions: ['FLOOR', 'ABS'],
      tables: [
        {
          ...table,
          name: 'passengers',
          private: true,
          unit: 'row',
          columns: [
            column('pclass', 'INTEGER', { nullable: false, domain: [1, 2, 3] }),
            column('fare', 'DOUBLE', { bounds: [0, 600], description: 'pounds' }),
            column('two words', 'VARCHAR')
          ]
        },
        { ...table, name: 'ports', private: false, columns: [column('port', 'VARCHAR')] }
      ],
      saved: [
        {
          name: 'classes',
          columns: [column('pclass', 'INTEGER'), column('n', 'BIGINT')],
          rows: 3,
          time: '2026-01-02 03:04:05',
          kind: 'private',
          unmetered: false
        }
      ]
    }
  ]
};

export const quote: IQuoteReply = {
  privacy: {
    epsilon: 1.8,
    rho: 0.8,
    delta: 0,
    answers: [],
    tables: [
      {
        table: 'passengers',
        analyst: null,
        epsilon: 1.8,
        delta: 0,
        before: 40,
        after: 38.2,
        affordable: true,
        unmetered: false
      },
      {
        table: '*',
        analyst: 'ada',
        epsilon: 1.8,
        delta: 0,
        before: 10,
        after: 8.2,
        affordable: true,
        unmetered: false
      }
    ]
  },
  utility: [
    { name: 'pclass', mechanism: '', scale: null, epsilon: null, half_width: {}, derived: false },
    {
      name: 'n',
      mechanism: 'Laplace',
      scale: 1.1,
      epsilon: 0.9,
      half_width: { '0.95': 3.3 },
      derived: false
    },
    {
      name: 'fare',
      mechanism: 'Laplace',
      scale: 0.2,
      epsilon: 0.9,
      half_width: { '0.95': 0.72 },
      derived: false
    }
  ],
  affordable: true,
  notes: [],
  columns: [],
  checksum: 'abc',
  cached: false
};
