'use strict';

module.exports = function (environment) {
  return {
    modulePrefix: 'study',
    environment,
    rootURL: process.env.PREPEND ? '/' : '',
    locationType: 'none',
    EmberENV: { EXTEND_PROTOTYPES: false },
    APP: {},
  };
};
