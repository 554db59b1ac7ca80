'use strict';

const EmberApp = require('ember-cli/lib/broccoli/ember-app');

// PREPEND is where the site serves the app, as Lookit's builder sets it; empty: addresses stay relative.
// CHUNKS is where the code of npm packages is asked for.
module.exports = function (defaults) {
  const { PREPEND, CHUNKS } = process.env;
  const app = new EmberApp(defaults, {
    fingerprint: { enabled: true, prepend: PREPEND },
    autoImport: CHUNKS ? { publicAssetURL: CHUNKS } : {},
  });
  return app.toTree();
};
