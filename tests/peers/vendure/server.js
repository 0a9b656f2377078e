// A real Vendure shop on loopback for tests: `node server.js seed <csv>` fills an empty database, `node server.js` serves it.
// Vendure is GPL-3.0: this file and what it loads are only ever run by tests, never shipped.
'use strict';
const path = require('node:path');
const { createRequire } = require('node:module');

const load = createRequire(path.join(process.env.VENDURE_HOME, 'package.json'));
const {
    DefaultJobQueuePlugin, DefaultLogger, DefaultSearchPlugin, JobQueueService, LogLevel,
    bootstrap, defaultConfig, dummyPaymentHandler, mergeConfig,
} = load('@vendure/core');
const { populate } = load('@vendure/core/cli');

const seeding = process.argv[2] === 'seed';

const config = mergeConfig(defaultConfig, {
    logger: new DefaultLogger({ level: LogLevel.Warn, timestamp: false }),
    apiOptions: {
        hostname: '127.0.0.1',
        port: Number(process.env.VENDURE_PORT),
        adminApiPath: 'admin-api',
        shopApiPath: 'shop-api',
        cors: false,
    },
    authOptions: {
        tokenMethod: ['bearer', 'api-key'],
        requireVerification: false,
        superadminCredentials: { identifier: 'superadmin', password: process.env.VENDURE_PASSWORD },
    },
    dbConnectionOptions: {
        type: 'postgres',
        url: process.env.VENDURE_DATABASE,
        synchronize: seeding,
        logging: false,
    },
    paymentOptions: { paymentMethodHandlers: [dummyPaymentHandler] },
    plugins: [DefaultJobQueuePlugin.init({ pollInterval: 1000 }), DefaultSearchPlugin.init({})],
});

const payment = (name, automaticSettle) => ({
    name,
    handler: { code: dummyPaymentHandler.code, arguments: [{ name: 'automaticSettle', value: String(automaticSettle) }] },
});

const initialData = {
    defaultLanguage: 'zh_Hans',
    defaultZone: 'Asia',
    countries: [{ code: 'CN', name: '中国', zone: 'Asia' }],
    taxRates: [{ name: 'standard', percentage: 13 }],
    shippingMethods: [{ name: 'standard', price: 800 }],
    paymentMethods: [payment('pay-now', true), payment('pay-later', false)],
    collections: [],
};

async function serve() {
    const app = await bootstrap(config);
    await app.get(JobQueueService).start();
    process.stdin.resume().on('end', () => process.exit(0)); // whoever started it has gone
}

async function seed(csv) {
    const app = await populate(() => bootstrap(config), initialData, csv);
    await app.close();
    process.exit(0);
}

(seeding ? seed(process.argv[3]) : serve()).catch(error => {
    console.error(error);
    process.exit(1);
});
